//! The wire format of Protocol Buffers, as far as ONNX files need it.

/// An encoded message, to which fields are appended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn push_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn push_key(&mut self, field: u64, kind: u64) {
        self.push_varint(field << 3 | kind);
    }

    /// Appends an integer or enumeration.
    pub(crate) fn int(mut self, field: u64, number: i64) -> Self {
        self.push_key(field, VARINT);
        self.push_varint(number as u64);
        self
    }

    /// Appends each number as a field of its own, which readers accept for packed fields, too.
    pub(crate) fn ints(self, field: u64, numbers: impl IntoIterator<Item = i64>) -> Self {
        numbers.into_iter().fold(self, |message, number| message.int(field, number))
    }

    pub(crate) fn float(mut self, field: u64, number: f32) -> Self {
        self.push_key(field, FIXED_32);
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.push_key(field, BYTES);
        self.push_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_bytes_of_the_specification() {
        // Examples of the encoding guide of Protocol Buffers: `a = 150`, and the text "testing".
        assert_eq!(Message::new().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::new().text(2, "testing").into_bytes();
        assert_eq!(text, [&[0x12, 0x07], "testing".as_bytes()].concat());
        let nested = Message::new().message(3, &Message::new().int(1, 150));
        assert_eq!(nested.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        // Negative numbers take ten bytes.
        let negative = Message::new().int(1, -2).into_bytes();
        assert_eq!(negative[1..], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(Message::new().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
    }
}
