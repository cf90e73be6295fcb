//! Writes requests: the parts that all requests of a load share are made once.

use crate::bare;
use crate::keys::Spelling;
use crate::proof::{Proof, Wrong};
use crate::wire::{Answer, Wire};

/// Writes the requests of one load and knows what is right to answer to them.
#[derive(Debug)]
pub(crate) struct Encoder {
    wire: Wire,
    spelling: Spelling,
    proof: Proof,
    /// What stands before the key, and after it, in a GET.
    get: (Vec<u8>, &'static [u8]),
    /// What stands before the key in a SET.
    set: Vec<u8>,
}

/// What memcached says to a SET while no entry of its size may go.
const MEMCACHED_IS_FULL: &[u8] = b"out of memory storing object";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Read the key.
    Get,
    /// Store its value.
    Set,
}

/// Whether an answer is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The value, or "stored".
    Right,
    /// There is no value; that may be right.
    Miss,
    /// It was not stored, for nothing could make room for it; that may be right.
    NoRoom,
    /// It is a value, but not that of the key.
    Wrong(Wrong),
    /// It is the value of this key.
    OtherKey(Vec<u8>),
    /// It is the answer to another kind of request.
    OtherKind(&'static str),
    /// The server said that it did not work, and why.
    Refused(Vec<u8>),
}

// === impl Encoder ===

impl Encoder {
    /// An encoder of this language.
    pub(crate) fn new(wire: Wire, spelling: Spelling, proof: Proof) -> Self {
        let size = spelling.size();
        let (get, after, set) = match wire {
            Wire::Resp => (
                format!("*2\r\n$3\r\nGET\r\n${size}\r\n").into_bytes(),
                &b"\r\n"[..],
                format!("*3\r\n$3\r\nSET\r\n${size}\r\n").into_bytes(),
            ),
            Wire::Frames => {
                let key = size as u32;
                ([&(key + 5).to_be_bytes()[..], &[1], &key.to_le_bytes()].concat(), &b""[..], Vec::new())
            }
            Wire::Memcached => (b"get ".to_vec(), &b"\r\n"[..], b"set ".to_vec()),
            Wire::Bare => ((size as u32).to_le_bytes().to_vec(), &b""[..], Vec::new()),
        };
        Self { wire, spelling, proof, get: (get, after), set }
    }

    /// The language.
    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    /// The key's spelling.
    pub(crate) fn key(&self, key: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.spelling.size());
        self.spelling.write(&mut out, key);
        out
    }

    /// Appends a request.
    pub(crate) fn write(&self, out: &mut Vec<u8>, operation: Operation, key: u64) {
        match operation {
            Operation::Get => self.write_get(out, key),
            Operation::Set => self.write_set(out, key),
        }
    }

    fn write_get(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(&self.get.0);
        if self.wire == Wire::Bare {
            out.extend_from_slice(&(self.proof.size(key) as u32).to_le_bytes());
        }
        self.spelling.write(out, key);
        out.extend_from_slice(self.get.1);
    }

    fn write_set(&self, out: &mut Vec<u8>, key: u64) {
        let (key_size, size) = (self.spelling.size(), self.proof.size(key));
        out.extend_from_slice(&self.set);
        match self.wire {
            Wire::Resp => {
                self.spelling.write(out, key);
                out.extend_from_slice(b"\r\n$");
                decimal(out, size);
                out.extend_from_slice(b"\r\n");
            }
            Wire::Frames => {
                out.extend_from_slice(&((17 + key_size + size) as u32).to_be_bytes());
                out.push(2);
                out.extend_from_slice(&(key_size as u32).to_le_bytes());
                out.extend_from_slice(&(size as u32).to_le_bytes());
                out.extend_from_slice(&0_u64.to_le_bytes());
                self.spelling.write(out, key);
            }
            Wire::Memcached => {
                self.spelling.write(out, key);
                out.extend_from_slice(b" 0 0 ");
                decimal(out, size);
                out.extend_from_slice(b"\r\n");
            }
            Wire::Bare => {
                out.extend_from_slice(&((key_size + size) as u32).to_le_bytes());
                out.extend_from_slice(&0_u32.to_le_bytes());
                self.spelling.write(out, key);
            }
        }
        self.proof.write(out, key);
        if matches!(self.wire, Wire::Resp | Wire::Memcached) {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Is this what the request must be answered with?
    pub(crate) fn judge(&self, operation: Operation, key: u64, answer: Answer<'_>) -> Verdict {
        match (operation, answer) {
            (Operation::Set, Answer::Stored) => Verdict::Right,
            (Operation::Get, Answer::Miss) => Verdict::Miss,
            (Operation::Get, Answer::Value(value)) => self.judge_value(key, value),
            (Operation::Get, Answer::Named(name, value)) => {
                if name == self.key(key) {
                    self.judge_value(key, value)
                } else {
                    Verdict::OtherKey(name.to_vec())
                }
            }
            (Operation::Set, Answer::Refused(MEMCACHED_IS_FULL)) => Verdict::NoRoom,
            (_, Answer::Refused(text)) => Verdict::Refused(text.to_vec()),
            (Operation::Get, Answer::Stored) => Verdict::OtherKind("'stored' to a GET"),
            (Operation::Set, _) => Verdict::OtherKind("a value, or none, to a SET"),
        }
    }

    fn judge_value(&self, key: u64, value: &[u8]) -> Verdict {
        let checked = match self.wire {
            Wire::Bare => bare::check(value, self.proof.size(key)),
            _ => self.proof.check(key, value),
        };
        checked.map_or_else(Verdict::Wrong, |()| Verdict::Right)
    }
}

fn decimal(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [b'0'; 20];
    let mut place = digits.len();
    loop {
        place -= 1;
        digits[place] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[place..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;
    use synapse_protocol::batch::Batch;
    use synapse_protocol::{frame, resp};

    use super::*;
    use crate::sizes::Sizes;

    fn encoder(wire: Wire, size: usize) -> Encoder {
        Encoder::new(wire, Spelling::new(16).unwrap(), Proof::new(Sizes::OneOf(vec![size]), 0))
    }

    fn written(encoder: &Encoder, operation: Operation, key: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.write(&mut out, operation, key);
        out
    }

    fn value(encoder: &Encoder, key: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.proof.write(&mut out, key);
        out
    }

    proptest! {
        #[test]
        fn the_servers_decoders_read_what_is_meant(key in 0..1_000_000_u64, size in 8..3000_usize) {
            let encoder = encoder(Wire::Resp, size);
            let (name, value) = (encoder.key(key), value(&encoder, key));
            let mut input = BytesMut::from(&written(&encoder, Operation::Set, key)[..]);
            input.extend_from_slice(&written(&encoder, Operation::Get, key));
            let mut batch = Batch::default();
            resp::request::Decoder::default().decode(&mut input, &mut batch).unwrap();
            let commands: Vec<Vec<Bytes>> = batch.iter().map(<[Bytes]>::to_vec).collect();
            let (set, get): ([&[u8]; 3], [&[u8]; 2]) = ([b"SET", &name, &value], [b"GET", &name]);
            prop_assert_eq!(&commands[..], &[set.map(Bytes::copy_from_slice).to_vec(), get.map(Bytes::copy_from_slice).to_vec()][..]);
            prop_assert!(input.is_empty());

            let encoder = self::encoder(Wire::Frames, size);
            let mut input = BytesMut::from(&written(&encoder, Operation::Set, key)[..]);
            input.extend_from_slice(&written(&encoder, Operation::Get, key));
            let (key, value) = (Bytes::from(name), Bytes::from(value));
            let set = frame::Request::Set { key: key.clone(), value, ttl_seconds: 0 };
            prop_assert_eq!(frame::decode(&mut input), Ok(Some(set)));
            prop_assert_eq!(frame::decode(&mut input), Ok(Some(frame::Request::Get { key })));
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn memcached_is_spoken_in_its_words() {
        let encoder = encoder(Wire::Memcached, 8);
        assert_eq!(written(&encoder, Operation::Get, 42), b"get key:000000000042\r\n");
        let set = [b"set key:000000000042 0 0 8\r\n", &value(&encoder, 42)[..], b"\r\n"].concat();
        assert_eq!(written(&encoder, Operation::Set, 42), set);
    }

    #[test]
    fn answers_are_judged() {
        let encoder = encoder(Wire::Memcached, 64);
        let (own, other) = (value(&encoder, 1), value(&encoder, 2));
        let (name, other_name) = (encoder.key(1), encoder.key(2));
        let judge = |operation, answer| encoder.judge(operation, 1, answer);
        assert_eq!(judge(Operation::Set, Answer::Stored), Verdict::Right);
        assert_eq!(judge(Operation::Get, Answer::Value(&own)), Verdict::Right);
        assert_eq!(judge(Operation::Get, Answer::Named(&name, &own)), Verdict::Right);
        assert_eq!(judge(Operation::Get, Answer::Miss), Verdict::Miss);
        assert_eq!(judge(Operation::Set, Answer::Refused(MEMCACHED_IS_FULL)), Verdict::NoRoom);
        let refused =
            |operation, text| matches!(judge(operation, Answer::Refused(text)), Verdict::Refused(_));
        assert!(refused(Operation::Get, MEMCACHED_IS_FULL) && refused(Operation::Set, b"out of order"));
        assert!(matches!(
            judge(Operation::Get, Answer::Value(&other)),
            Verdict::Wrong(Wrong::Foreign { .. })
        ));
        assert!(matches!(judge(Operation::Get, Answer::Named(&other_name, &own)), Verdict::OtherKey(_)));
        assert!(matches!(judge(Operation::Get, Answer::Stored), Verdict::OtherKind(_)));
        assert!(matches!(judge(Operation::Set, Answer::Value(&own)), Verdict::OtherKind(_)));
        assert!(matches!(judge(Operation::Set, Answer::Miss), Verdict::OtherKind(_)));
        assert!(matches!(judge(Operation::Set, Answer::Refused(b"no")), Verdict::Refused(_)));
    }
}
