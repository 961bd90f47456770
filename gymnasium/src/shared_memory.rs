//! Memory that this program shares with a worker.
//!
//! No program can make the memory shorter while this one reads it, and every access is checked against its length.
//! On Linux, the memory is an anonymous file, which has no name that could remain and is sealed. Elsewhere, and on
//! Linux with the option `handover`, it is an object of POSIX, whose size cannot change on macOS and whose name is
//! removed when the worker has mapped it.

use std::fs::File;
use std::mem::size_of;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use serde_json::{Value as Json, json};

use crate::error::{GymnasiumError, Result};

/// A number for which every bit pattern is a value.
///
/// # Safety
/// Implemented for integers and floating-point numbers only.
#[expect(unsafe_code, reason = "reading such a number from any bytes is sound")]
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($number:ty),*) => {$(
        // SAFETY: every bit pattern of this number is a value.
        #[expect(unsafe_code, reason = "see above")]
        unsafe impl Plain for $number {}
    )*};
}

plain!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// A mapped file that two programs read and write.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    map: MmapRaw,
    /// Where a worker finds the memory, until it has mapped it, too.
    origin: Option<Origin>,
}

/// Where a worker finds the memory.
#[derive(Debug)]
enum Origin {
    /// An anonymous file that is open.
    #[cfg(target_os = "linux")]
    File(File),
    /// The name of an object.
    #[cfg(unix)]
    Object(ObjectName),
}

/// The name of an object, which is removed when dropped.
#[cfg(unix)]
#[derive(Debug)]
struct ObjectName(String);

#[cfg(unix)]
impl Drop for ObjectName {
    fn drop(&mut self) {
        // Fails if another program has removed the name.
        let _ = rustix::shm::unlink(&self.0);
    }
}

impl SharedMemory {
    /// Creates zeroed memory of `size` bytes.
    ///
    /// # Errors
    /// [`GymnasiumError::Platform`] outside Linux, otherwise the error of the operating system.
    pub(crate) fn create(size: usize) -> Result<Self> {
        let file = anonymous_file(size)?;
        let map = MmapOptions::new().len(size).map_raw(&file);
        let map = map.map_err(GymnasiumError::SharedMemory)?;
        #[cfg(target_os = "linux")]
        let origin = Some(Origin::File(file));
        #[cfg(not(target_os = "linux"))]
        let origin = None;
        Ok(Self { map, origin })
    }

    /// Creates zeroed memory of `size` bytes that has a name.
    ///
    /// # Errors
    /// [`GymnasiumError::Platform`] if the system has no such memory, otherwise the error of the operating system.
    #[cfg(unix)]
    pub(crate) fn create_named(size: usize) -> Result<Self> {
        use rustix::fs::Mode;
        use rustix::shm::{OFlags, open};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // macOS allows 31 bytes.
        let name =
            format!("/rekindle-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let made = || {
            let file = File::from(open(&name, flags, Mode::RUSR | Mode::WUSR)?);
            let name = ObjectName(name.clone());
            file.set_len(size as u64)?;
            let map = MmapOptions::new().len(size).map_raw(&file)?;
            Ok(Self { map, origin: Some(Origin::Object(name)) })
        };
        made().map_err(GymnasiumError::SharedMemory)
    }

    #[cfg(not(unix))]
    pub(crate) fn create_named(_size: usize) -> Result<Self> {
        Err(GymnasiumError::Platform)
    }

    /// Returns where a child process finds the memory, until [`close`](Self::close): the path of a file, or
    /// the name of an object.
    pub(crate) fn origin(&self) -> Json {
        match &self.origin {
            #[cfg(target_os = "linux")]
            Some(Origin::File(file)) => {
                use std::os::fd::AsRawFd;
                let (process, number) = (std::process::id(), file.as_raw_fd());
                json!({"path": format!("/proc/{process}/fd/{number}")})
            }
            #[cfg(unix)]
            Some(Origin::Object(ObjectName(name))) => json!({ "name": name }),
            // Only Unix has shared memory here, so nothing else creates an origin.
            #[cfg(not(unix))]
            Some(_) => json!({}),
            None => json!({}),
        }
    }

    /// Makes the memory unreachable for other programs. It stays mapped.
    pub(crate) fn close(&mut self) {
        self.origin = None;
    }

    /// Returns the `index`-th word of four bytes.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] if the memory is shorter.
    pub(crate) fn word(&self, index: usize) -> Result<&AtomicU32> {
        self.check(index.saturating_mul(4), 1, 4)?;
        // SAFETY: the word is within the mapping, which lives as long as `self`, and aligned, because
        // mappings begin at a page. All accesses of this program to words are atomic, and those of
        // the worker are single stores and loads.
        #[expect(unsafe_code, reason = "both programs wait for each other on words of the memory")]
        Ok(unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().cast::<u32>().add(index)) })
    }

    /// Reads as many numbers as `out` has, from the byte `offset` on, and converts each.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] if they are not within the memory.
    pub(crate) fn read<T: Plain, U>(
        &self,
        offset: usize,
        out: &mut [U],
        convert: impl Fn(T) -> U,
    ) -> Result<()> {
        self.check(offset, out.len(), size_of::<T>())?;
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: `check` made sure that the number is within the mapping, and any bytes are a
            // `T`. A worker that keeps the protocol does not write now. One that breaks it can change
            // the value, which is checked or used as a number only.
            #[expect(unsafe_code, reason = "the worker owns no part of this program")]
            let number =
                unsafe { self.map.as_ptr().add(offset).cast::<T>().add(i).read_unaligned() };
            *out = convert(number);
        }
        Ok(())
    }

    /// Converts numbers and writes them from the byte `offset` on.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] if they do not fit into the memory.
    pub(crate) fn write<T: Copy, U: Plain>(
        &self,
        offset: usize,
        numbers: &[T],
        convert: impl Fn(T) -> U,
    ) -> Result<()> {
        self.check(offset, numbers.len(), size_of::<U>())?;
        for (i, &number) in numbers.iter().enumerate() {
            let number = convert(number);
            // SAFETY: `check` made sure that the number is within the mapping. No reference to this
            // memory exists in this program, except to words of the header as atomics.
            #[expect(unsafe_code, reason = "the worker reads the numbers")]
            unsafe {
                self.map.as_mut_ptr().add(offset).cast::<U>().add(i).write_unaligned(number);
            }
        }
        Ok(())
    }

    fn check(&self, offset: usize, count: usize, size: usize) -> Result<()> {
        let end = count.checked_mul(size).and_then(|bytes| bytes.checked_add(offset));
        if end.is_some_and(|end| end <= self.map.len()) {
            return Ok(());
        }
        Err(out_of_bounds(offset, self.map.len()))
    }
}

#[cold]
fn out_of_bounds(offset: usize, len: usize) -> GymnasiumError {
    GymnasiumError::protocol(format!("byte {offset} is outside its memory of {len} bytes"))
}

#[cfg(target_os = "linux")]
fn anonymous_file(size: usize) -> Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = || {
        let file = File::from(memfd_create("rekindle-gymnasium", flags)?);
        file.set_len(size as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file)
    };
    file().map_err(GymnasiumError::SharedMemory)
}

#[cfg(not(target_os = "linux"))]
fn anonymous_file(_size: usize) -> Result<File> {
    Err(GymnasiumError::Platform)
}

/// Wakes the program that sleeps on a word, if one does.
#[cfg(target_os = "linux")]
pub(crate) fn wake(word: &AtomicU32) {
    // Fails only for words that are not mapped.
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1);
}

/// Sleeps until the other program calls [`wake`], the word differs from `value`, or `limit` has passed. May return
/// earlier.
#[cfg(target_os = "linux")]
pub(crate) fn sleep(word: &AtomicU32, value: u32, limit: Duration) {
    use rustix::thread::futex::{Flags, Timespec, wait};
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // Another value, an interrupt or the limit: the caller looks at the word again.
    let _ = wait(word, Flags::empty(), value, Some(&limit));
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn wake(_word: &AtomicU32) {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sleep(_word: &AtomicU32, _value: u32, limit: Duration) {
    std::thread::sleep(limit);
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn another_mapping_sees_what_is_written_and_cannot_shorten_it() {
        let memory = SharedMemory::create(4096).unwrap();
        let path = memory.origin()["path"].as_str().unwrap().to_owned();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let other = SharedMemory { map: MmapOptions::new().map_raw(&file).unwrap(), origin: None };
        memory.write(100, &[1.5_f32, -2.0], |x| x).unwrap();
        memory.word(3).unwrap().store(7, Ordering::Release);
        let mut seen = [0.0_f32; 2];
        other.read(100, &mut seen, |x: f32| x).unwrap();
        assert_eq!(seen, [1.5, -2.0]);
        assert_eq!(other.word(3).unwrap().load(Ordering::Acquire), 7);
        assert!(file.set_len(10).is_err());
    }

    #[test]
    fn a_named_object_is_shared_until_its_name_is_removed() {
        let mut memory = SharedMemory::create_named(4096).unwrap();
        let name = memory.origin()["name"].as_str().unwrap().to_owned();
        let open =
            || rustix::shm::open(&name, rustix::shm::OFlags::RDWR, rustix::fs::Mode::empty());
        let file = File::from(open().unwrap());
        let other = SharedMemory { map: MmapOptions::new().map_raw(&file).unwrap(), origin: None };
        memory.close();
        assert!(open().is_err() && memory.origin() == json!({}));
        memory.word(5).unwrap().store(9, Ordering::Release);
        assert_eq!(other.word(5).unwrap().load(Ordering::Acquire), 9);
    }

    #[test]
    fn accesses_outside_the_memory_are_errors() {
        let memory = SharedMemory::create(4096).unwrap();
        assert!(memory.word(1023).is_ok() && memory.word(1024).is_err());
        assert!(memory.word(usize::MAX).is_err());
        assert!(memory.read(4090, &mut [0_u8; 6], |x: u8| x).is_ok());
        assert!(memory.read(4090, &mut [0_u8; 7], |x: u8| x).is_err());
        assert!(memory.write(usize::MAX - 1, &[0_u64], |x| x).is_err());
    }

    #[test]
    fn sleeping_ends_when_the_other_side_wakes_or_time_passes() {
        let memory = SharedMemory::create(4096).unwrap();
        let word = memory.word(0).unwrap();
        sleep(word, 0, Duration::from_millis(1));
        sleep(word, 1, Duration::from_secs(60)); // The value differs.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                word.store(1, Ordering::Release);
                wake(word);
            });
            while word.load(Ordering::Acquire) == 0 {
                sleep(word, 0, Duration::from_secs(60));
            }
        });
    }
}
