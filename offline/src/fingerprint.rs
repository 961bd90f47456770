//! Text that identifies recorded data by their content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, SegmentEnd};
use sha2::{Digest, Sha256};

/// Bytes of each block that is read of a large file.
const BLOCK: u64 = 16 << 10;

/// Blocks that are read of a large file, at equal distances from its start to its end. Files of no more bytes are read
/// whole.
const BLOCKS: u64 = 16;

/// A digest of recorded data. Data in memory and small files are read whole, larger files in blocks: their length or
/// one of these blocks differs between recordings of different steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a text or other bytes, with their length.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds the content of a file.
    pub(crate) fn add_file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        self.0.update(len.to_le_bytes());
        if len <= BLOCKS * BLOCK {
            io::copy(&mut file.take(len), &mut self.0)?;
            return Ok(());
        }
        let mut block = vec![0; BLOCK as usize];
        for number in 0..BLOCKS {
            let start = (len - BLOCK).saturating_mul(number) / (BLOCKS - 1);
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block)?;
            self.0.update(&block);
        }
        Ok(())
    }

    /// Adds the steps of an episode: observations, actions, rewards, ends, and recorded outputs.
    pub(crate) fn add_rollout(&mut self, rollout: &Rollout) {
        for column in [&rollout.observations, &rollout.final_observations, &rollout.actions] {
            self.add_buffer(column);
        }
        for (name, column) in &rollout.extras {
            self.add(name.as_bytes());
            self.add_buffer(column);
        }
        self.add_floats(&rollout.rewards);
        for segment in &rollout.segments {
            let end = match segment.end {
                SegmentEnd::Terminated => 0,
                SegmentEnd::Truncated => 1,
                SegmentEnd::Cut => 2,
            };
            self.add(&[end]);
            self.0.update((segment.len as u64).to_le_bytes());
        }
    }

    fn add_buffer(&mut self, buffer: &Buffer) {
        for (path, leaf) in buffer.leaves() {
            self.add(path.as_bytes());
            if let Ok(numbers) = leaf.as_f32() {
                self.add_floats(numbers);
            } else if let Ok(numbers) = leaf.as_i64() {
                numbers.iter().for_each(|number| self.0.update(number.to_le_bytes()));
            } else if let Ok(bytes) = leaf.as_u8() {
                self.add(bytes);
            }
        }
    }

    fn add_floats(&mut self, numbers: &[f32]) {
        self.0.update((numbers.len() as u64).to_le_bytes());
        numbers.iter().for_each(|number| self.0.update(number.to_le_bytes()));
    }

    /// Returns the first half of the digest, in hexadecimal digits.
    pub(crate) fn text(&self) -> String {
        let digest = self.0.clone().finalize();
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mut fingerprint = Fingerprint::default();
        fingerprint.add_file(&path).unwrap();
        fingerprint.text()
    }

    #[test]
    fn files_of_other_content_or_length_differ() {
        let small = vec![1; 1000];
        let mut other = small.clone();
        other[700] = 2;
        assert_eq!(of_file(&small), of_file(&small));
        assert_ne!(of_file(&small), of_file(&other));
        let large = vec![1; (BLOCKS * BLOCK) as usize + 7];
        assert_eq!(of_file(&large), of_file(&large));
        assert_ne!(of_file(&large), of_file(&large[1..]));
        for changed in [0, large.len() - 1] {
            let mut other = large.clone();
            other[changed] = 2;
            assert_ne!(of_file(&large), of_file(&other), "byte {changed}");
        }
    }
}
