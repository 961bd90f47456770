//! Mutations of bytes and of text that is almost JSON.

use std::ops::Range;

use rekindle_env::np_random::Generator;

/// Numbers at the limits of types, of exactness and of memory.
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "2",
    "8",
    "255",
    "4294967295",
    "4294967296",
    "8589934592",
    "9007199254740993",
    "1152921504606846976",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "0.1",
    "-0",
    "-0.0",
    "5e-324",
    "00",
];

/// Names and words with a meaning for a file system, the formats or a parser.
const STRINGS: [&str; 30] = [
    "",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "a/b",
    "C:\\\\x",
    "nul",
    "a.",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "\\x",
    "__metadata__",
    "state.json",
    "tensors.safetensors",
    "manifest.json",
    "F32",
    "F64",
    "I64",
    "U8",
    "BOOL",
    "F16",
    "F4",
    "policy",
    "value",
    "I32",
    "U32",
    "U64",
    "I8",
];

/// A seeded source of mutations.
pub(crate) struct Mutator {
    rng: Generator,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Generator::from_seed(seed) }
    }

    /// A whole number below `n`, or 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.rng.integers(0, n as i64) as usize }
    }

    /// Whether an event with probability 1 / `n` happens.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A 64-bit number at the edge of something.
    pub(crate) fn edge(&mut self) -> u64 {
        let power = 1u64 << self.below(64);
        power.wrapping_add(self.below(3) as u64).wrapping_sub(1)
    }

    /// A part of `len` bytes, short as a rule.
    fn range(&mut self, len: usize) -> Range<usize> {
        let start = self.below(len + 1);
        let most = if self.one_in(8) { len } else { 16 };
        start..len.min(start + self.below(most + 1))
    }

    /// Changes bytes without regard to what they mean.
    pub(crate) fn bytes(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(7) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            2 if !bytes.is_empty() => bytes[at] = *self.pick(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'{']),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(self.range(bytes.len()))),
            5 => {
                let copy = bytes[self.range(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let (from, to) = (self.range(other.len()), self.range(bytes.len()));
                bytes.splice(to, other[from].iter().copied());
            }
        }
    }

    /// Changes a token of text that may be JSON.
    pub(crate) fn text(&mut self, text: &mut Vec<u8>, other: &[u8]) {
        let (numbers, strings) = tokens(text);
        let (number, string) = (self.token(&numbers), self.token(&strings));
        match self.below(10) {
            0 | 1 if !numbers.is_empty() => {
                let new = self.pick(&NUMBERS).as_bytes();
                text.splice(number, new.iter().copied());
            }
            2 if !numbers.is_empty() => {
                let new = self.edge().to_string();
                text.splice(number, new.into_bytes());
            }
            3 | 4 if !strings.is_empty() => {
                let new = format!("\"{}\"", self.pick(&STRINGS));
                text.splice(string, new.into_bytes());
            }
            5 if !strings.is_empty() => {
                let long = format!("\"{}\"", "x".repeat(1 << self.below(13)));
                text.splice(string, long.into_bytes());
            }
            6 => {
                // Closed again half of the time.
                let (token, levels) =
                    (if self.one_in(2) { number } else { string }, 1 + self.below(200));
                let (open, close) = *self.pick(&[("[", "]"), ("{\"a\":", "}")]);
                let close = if self.one_in(2) { close } else { "" };
                let mut nested = open.repeat(levels).into_bytes();
                nested.extend_from_slice(&text[token.clone()]);
                nested.extend_from_slice(close.repeat(levels).as_bytes());
                text.splice(token, nested);
            }
            7 => {
                // An entry once more, or one of another file: duplicate keys and foreign fields.
                let from = if self.one_in(2) { text.clone() } else { other.to_vec() };
                let entry = self.entry(&from);
                let at = text.iter().position(|&b| b == b'{').map_or(0, |at| at + 1);
                text.splice(at..at, entry);
            }
            8 if !strings.is_empty() => {
                let bad = *self.pick(&[
                    &b"\xff"[..],
                    b"\xc3\x28",
                    b"\xed\xa0\x80",
                    b"\0",
                    b"\xf4\x90\x80\x80",
                ]);
                text.splice(string.start + 1..string.start + 1, bad.iter().copied());
            }
            _ => self.bytes(text, other),
        }
    }

    fn token(&mut self, tokens: &[Range<usize>]) -> Range<usize> {
        if tokens.is_empty() { 0..0 } else { self.pick(tokens).clone() }
    }

    /// A key and what follows it up to some comma, with the comma.
    fn entry(&mut self, text: &[u8]) -> Vec<u8> {
        let keys: Vec<_> =
            tokens(text).1.into_iter().filter(|token| text.get(token.end) == Some(&b':')).collect();
        let start = self.token(&keys).start;
        let commas: Vec<usize> = (start..text.len()).filter(|&i| text[i] == b',').collect();
        let end = if commas.is_empty() { text.len() } else { *self.pick(&commas) };
        [&text[start..end], b","].concat()
    }
}

/// The places of what looks like numbers and like strings, quotes included.
fn tokens(text: &[u8]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut numbers, mut strings) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = match rest[0] {
            b'"' => {
                let length = rest.iter().skip(1).position(|&b| b == b'"').map_or(1, |i| i + 2);
                if length > 1 {
                    strings.push(at..at + length);
                }
                length
            }
            b'0'..=b'9' => {
                let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                numbers.push(at..at + length);
                length
            }
            _ => 1,
        };
        at += length;
    }
    (numbers, strings)
}
