//! TensorBoard's message `Event`, in the encoding of protocol buffers.

/// An event without its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    step: u64,
    what: What<'a>,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    /// The first event of a file.
    Version,
    /// The start of a session: points of earlier files at this step and later ones are void.
    Restart,
    Scalars(&'a [(&'a str, f32)]),
}

/// The version of the format that every reader knows.
const VERSION: &str = "brain.Event:2";

/// The numbers of the fields, and of the wire types: varint, 8 bytes, bytes with their length, 4 bytes.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
const SUMMARY_VALUE: u64 = 1;
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;
const SESSION_STATUS: u64 = 1;
const SESSION_START: u64 = 1;
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl<'a> Event<'a> {
    pub(super) fn version() -> Self {
        Self { step: 0, what: What::Version }
    }

    pub(super) fn restart(step: u64) -> Self {
        Self { step, what: What::Restart }
    }

    pub(super) fn scalars(step: u64, scalars: &'a [(&'a str, f32)]) -> Self {
        Self { step, what: What::Scalars(scalars) }
    }

    /// Returns the message. `wall_time` is in seconds since 1970.
    pub(super) fn encode(&self, wall_time: f64) -> Vec<u8> {
        let mut message = Vec::new();
        key(&mut message, WALL_TIME, FIXED_64);
        message.extend(wall_time.to_le_bytes());
        // Fields with the value 0 are left out.
        if self.step != 0 {
            key(&mut message, STEP, VARINT);
            varint(&mut message, self.step);
        }
        match self.what {
            What::Version => bytes(&mut message, FILE_VERSION, VERSION.as_bytes()),
            What::Restart => {
                let mut log = Vec::new();
                key(&mut log, SESSION_STATUS, VARINT);
                varint(&mut log, SESSION_START);
                bytes(&mut message, SESSION_LOG, &log);
            }
            What::Scalars(scalars) => {
                let mut summary = Vec::new();
                for (tag, number) in scalars {
                    let mut value = Vec::new();
                    bytes(&mut value, TAG, tag.as_bytes());
                    key(&mut value, SIMPLE_VALUE, FIXED_32);
                    value.extend(number.to_le_bytes());
                    bytes(&mut summary, SUMMARY_VALUE, &value);
                }
                bytes(&mut message, SUMMARY, &summary);
            }
        }
        message
    }
}

fn key(message: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(message, field << 3 | wire_type);
}

fn bytes(message: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(message, field, BYTES);
    varint(message, content.len() as u64);
    message.extend(content);
}

/// Appends a number in groups of 7 bits, the lowest first.
fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
