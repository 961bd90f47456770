//! Frames: what processes send each other.
//!
//! | bytes | hold |
//! |---|---|
//! | 8 | `rkndlmpi` |
//! | 4 | version of this layout, little-endian like all numbers |
//! | 4 | [`Kind`] |
//! | 4 | flags |
//! | 4 | CRC-32 of the body |
//! | 8 | version of the weights |
//! | 8 | length of the body |
//! | 4 | CRC-32 of the header up to here |
//! | … | the body |
//!
//! The header has a checksum of its own, because its length decides how much memory is reserved for the body.

use thiserror::Error;

const MAGIC: &[u8; 8] = b"rkndlmpi";
const LAYOUT: u32 = 1;
/// The length of a header in bytes.
pub const HEADER: usize = 44;
/// Where the checksum of the header begins.
const AT_CHECKSUM: usize = 40;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The settings of a run, from the first learner to all others.
    Settings = 1,
    /// Published weights, from the first learner to a runner.
    Weights = 2,
    /// The runner has the newest weights already.
    Unchanged = 3,
    /// A batch of experience, from a runner to the first learner.
    Batch = 4,
    /// The beginning of an update, from the first learner to all other learners.
    Update = 5,
    /// The answer of a learner to an update.
    Answer = 6,
    /// All learners agree on whether to stop.
    Agree = 7,
    /// Training has ended.
    End = 8,
    /// The answer of a runner to the end. Nothing follows.
    Bye = 9,
    /// A process has failed; the body is its message.
    Failed = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Settings,
        Self::Weights,
        Self::Unchanged,
        Self::Batch,
        Self::Update,
        Self::Answer,
        Self::Agree,
        Self::End,
        Self::Bye,
        Self::Failed,
    ];
}

/// A frame that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Fewer or more bytes than the header says.
    #[error(
        "a frame has {found} bytes instead of {expected}: it was cut off or damaged on its way"
    )]
    Length {
        /// The number of bytes.
        found: usize,
        /// The number that there should be.
        expected: usize,
    },
    /// Bytes of something else.
    #[error("a message is no frame of rekindle: another program uses the same communicator")]
    NoFrame,
    /// A frame of another version of this layout.
    #[error(
        "a frame has layout {found}, not {LAYOUT}: run one version of rekindle on all machines"
    )]
    Version {
        /// The version of the frame.
        found: u32,
    },
    /// A header or body whose checksum does not fit.
    #[error("the checksum of a frame's {part} does not fit: it was damaged on its way")]
    Checksum {
        /// `header` or `body`.
        part: &'static str,
    },
    /// A frame of an unknown kind.
    #[error("a frame has the unknown kind {0}: run one version of rekindle on all machines")]
    Kind(u32),
    /// A frame that is not expected here.
    #[error("a frame of kind {found:?} arrived where {expected} is expected")]
    Unexpected {
        /// The kind of the frame.
        found: Kind,
        /// What was expected.
        expected: &'static str,
    },
}

/// A message between processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the frame is.
    pub kind: Kind,
    /// The number of the signal that asks the sender to stop, 0 for none, or another number that belongs to the kind.
    pub flags: u32,
    /// The version of the weights in the body, or of those that collected it.
    pub weights_version: u64,
    /// The content, in a format that belongs to the kind.
    pub body: Vec<u8>,
}

/// The checked beginning of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    kind: Kind,
    flags: u32,
    weights_version: u64,
    length: usize,
    checksum: u32,
}

impl Header {
    /// Reads a header. Its checksum is checked before any of its numbers is used.
    ///
    /// # Errors
    /// [`FrameError`], for bytes that are no header.
    pub fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        let short = FrameError::Length { found: bytes.len(), expected: HEADER };
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(short)?;
        if !header.starts_with(MAGIC) {
            return Err(FrameError::NoFrame);
        }
        if crc32fast::hash(&header[..AT_CHECKSUM]) != number(header, AT_CHECKSUM) {
            return Err(FrameError::Checksum { part: "header" });
        }
        let version = number(header, 8);
        if version != LAYOUT {
            return Err(FrameError::Version { found: version });
        }
        let kind = number(header, 12);
        let known = Kind::ALL.into_iter().find(|known| *known as u32 == kind);
        let length = long(header, 32);
        Ok(Self {
            kind: known.ok_or(FrameError::Kind(kind))?,
            flags: number(header, 16),
            checksum: number(header, 20),
            weights_version: long(header, 24),
            length: usize::try_from(length)
                .map_err(|_| FrameError::Length { found: bytes.len(), expected: usize::MAX })?,
        })
    }

    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Completes a frame.
    ///
    /// # Errors
    /// [`FrameError`] for a body that is damaged or has another length.
    pub fn with_body(self, body: Vec<u8>) -> Result<Frame, FrameError> {
        if body.len() != self.length {
            let (found, expected) = (HEADER + body.len(), HEADER.saturating_add(self.length));
            return Err(FrameError::Length { found, expected });
        }
        if crc32fast::hash(&body) != self.checksum {
            return Err(FrameError::Checksum { part: "body" });
        }
        let Self { kind, flags, weights_version, .. } = self;
        Ok(Frame { kind, flags, weights_version, body })
    }
}

impl Frame {
    /// Creates a frame without flags and version.
    #[must_use]
    pub fn new(kind: Kind, body: Vec<u8>) -> Self {
        Self { kind, flags: 0, weights_version: 0, body }
    }

    /// Sets the version of the weights.
    #[must_use]
    pub fn weights_version(mut self, version: u64) -> Self {
        self.weights_version = version;
        self
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Returns the frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(MAGIC);
        bytes.extend(LAYOUT.to_le_bytes());
        bytes.extend((self.kind as u32).to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(crc32fast::hash(&self.body).to_le_bytes());
        bytes.extend(self.weights_version.to_le_bytes());
        bytes.extend((self.body.len() as u64).to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Reads a frame. Bytes that were changed or cut off are never decoded.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        let header = Header::read(bytes)?;
        header.with_body(bytes[HEADER..].to_vec())
    }

    /// Returns the frame if it has the kind that is expected.
    ///
    /// # Errors
    /// [`FrameError::Unexpected`].
    pub fn expect(self, kind: Kind, expected: &'static str) -> Result<Self, FrameError> {
        match self.kind == kind {
            true => Ok(self),
            false => Err(FrameError::Unexpected { found: self.kind, expected }),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> Frame {
        Frame::new(Kind::Batch, b"experience".to_vec()).weights_version(7).flags(10)
    }

    #[test]
    fn frames_come_back_from_bytes() {
        for kind in Kind::ALL {
            for body in [Vec::new(), vec![0; 1], (0..=255).collect()] {
                let frame = Frame::new(kind, body).weights_version(u64::MAX).flags(3);
                let bytes = frame.to_bytes();
                assert_eq!(bytes.len(), HEADER + frame.body.len());
                assert_eq!(Frame::from_bytes(&bytes), Ok(frame));
            }
        }
    }

    #[test]
    fn every_changed_bit_and_every_missing_byte_is_noticed() {
        let bytes = frame().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let found = Frame::from_bytes(&damaged).unwrap_err();
                let expected = match at {
                    0..8 => FrameError::NoFrame,
                    8..HEADER => FrameError::Checksum { part: "header" },
                    _ => FrameError::Checksum { part: "body" },
                };
                assert_eq!(found, expected, "bit {bit} of byte {at}");
            }
            let found = Frame::from_bytes(&bytes[..at]).unwrap_err();
            assert!(matches!(found, FrameError::Length { .. }), "{at} bytes: {found}");
        }
        let mut longer = bytes;
        longer.push(0);
        let found = Frame::from_bytes(&longer).unwrap_err();
        assert_eq!(found, FrameError::Length { found: HEADER + 11, expected: HEADER + 10 });
    }

    /// Changes a number of the header, and its checksum with it.
    fn with_number(at: usize, number: u32) -> Vec<u8> {
        let mut bytes = frame().to_bytes();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..AT_CHECKSUM]);
        bytes[AT_CHECKSUM..HEADER].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        assert_eq!(Frame::from_bytes(&with_number(8, 2)), Err(FrameError::Version { found: 2 }));
        for kind in [0, 11, u32::MAX] {
            assert_eq!(Frame::from_bytes(&with_number(12, kind)), Err(FrameError::Kind(kind)));
        }
        let unexpected = frame().expect(Kind::Answer, "an answer").unwrap_err().to_string();
        assert_eq!(unexpected, "a frame of kind Batch arrived where an answer is expected");
    }

    #[test]
    fn a_header_that_promises_much_reserves_nothing() {
        let mut bytes = frame().to_bytes();
        bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Header::read(&bytes), Err(FrameError::Checksum { part: "header" }));
    }

    proptest! {
        #[test]
        fn any_frame_comes_back(
            body in proptest::collection::vec(any::<u8>(), 0..2000),
            version: u64,
            flags: u32,
            kind in 0..10usize,
        ) {
            let frame = Frame::new(Kind::ALL[kind], body).weights_version(version).flags(flags);
            prop_assert_eq!(Frame::from_bytes(&frame.to_bytes()), Ok(frame));
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Frame::from_bytes(&bytes).is_err());
            let mut beginning = MAGIC.to_vec();
            beginning.extend(bytes);
            prop_assert!(Frame::from_bytes(&beginning).is_err());
        }

        #[test]
        fn bytes_that_are_exchanged_or_repeated_are_noticed(
            body in proptest::collection::vec(any::<u8>(), 64..512),
            from in 0..600usize,
            to in 0..600usize,
            count in 1..32usize,
        ) {
            let bytes = Frame::new(Kind::Weights, body).to_bytes();
            let (from, to) = (from % (bytes.len() - 32), to % (bytes.len() - 32));
            let mut damaged = bytes.clone();
            damaged.copy_within(from..from + count, to);
            if damaged != bytes {
                prop_assert!(Frame::from_bytes(&damaged).is_err());
            }
        }
    }
}
