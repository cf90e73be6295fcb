//! The bytes of the file: a header, records, an end. Each checksum is over its part and continues the one before it.

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What the file begins with.
pub const MAGIC: [u8; 8] = *b"SYNAWARM";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of a record before its key.
pub const RECORD_BYTES: usize = 32;

/// Bytes of the end.
pub const END_BYTES: usize = 32;

/// The longest key and value together, in bytes (128 MiB): what no request could have brought.
pub const MAX_ENTRY_BYTES: u64 = 128 << 20;

const END_MAGIC: [u8; 8] = *b"SYNAWEND";
const NO_DEADLINE: u64 = u64::MAX;

/// What the records are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Entries of a cache whose memory is all there is: keys and values.
    Entries,
    /// Keys of copies whose truth is elsewhere. Their values are left out.
    Names,
}

/// The first bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the records are good for.
    pub kind: Kind,
    /// By which claim it was written.
    pub token: u128,
    /// The boot of the machine that deadlines belong to; 0 for none that is known.
    pub boot: u128,
    /// CLOCK_BOOTTIME in milliseconds when it was begun.
    pub begun_ms: u64,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value, `None` in a file of names.
    pub value: Option<&'a [u8]>,
    /// Bytes of the value, also where it is left out.
    pub value_len: u32,
    /// The last millisecond of CLOCK_BOOTTIME at which it may be served, `None` for ever.
    pub deadline: Option<u64>,
    /// How often it was asked for lately.
    pub heat: u8,
}

/// Why a file is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// Its first bytes are not those of a file of ours.
    #[error("it is no file of a sidecar")]
    Foreign,
    /// Another version.
    #[error("it has version {0}, and this is version {VERSION}")]
    Version(u32),
    /// The header does not fit its checksum, or says what no header says.
    #[error("its header is damaged")]
    Header,
    /// It does not end as it was written to.
    #[error("it is cut off, or its end is damaged")]
    End,
    /// A record does not fit its checksum, or its lengths cannot be.
    #[error("record {0} is damaged")]
    Record(u64),
    /// It was left by another process than the last that had claimed it.
    #[error("it was left by a process that was not the last to use it")]
    NotTheLast,
}

// === impl Kind ===

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Entries => 1,
            Self::Names => 2,
        }
    }
}

// === impl Header ===

impl Header {
    /// Its bytes, and the checksum that the next part continues.
    pub fn pack(&self) -> ([u8; HEADER_BYTES], u64) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[16..32].copy_from_slice(&self.token.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.boot.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.begun_ms.to_le_bytes());
        let checksum = xxh3_64_with_seed(&bytes[..56], 0);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    pub(crate) fn unpack(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, u64), Damage> {
        if bytes[..8] != MAGIC {
            return Err(Damage::Foreign);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        let checksum = u64_at(bytes, 56);
        let kind = [Kind::Entries, Kind::Names].into_iter().find(|kind| kind.code() == u32_at(bytes, 12));
        match kind {
            Some(kind) if checksum == xxh3_64_with_seed(&bytes[..56], 0) => {
                let (token, boot) = (u128_at(bytes, 16), u128_at(bytes, 32));
                Ok((Self { kind, token, boot, begun_ms: u64_at(bytes, 48) }, checksum))
            }
            _ => Err(Damage::Header),
        }
    }
}

// === impl Record ===

impl Record<'_> {
    /// Adds its bytes to `to`, and answers the checksum that the next part continues.
    pub fn pack(&self, to: &mut Vec<u8>, before: u64) -> u64 {
        let start = to.len();
        to.extend_from_slice(&[0; 8]);
        to.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        to.extend_from_slice(&self.value_len.to_le_bytes());
        to.extend_from_slice(&self.deadline.unwrap_or(NO_DEADLINE).to_le_bytes());
        to.extend_from_slice(&u64::from(self.heat).to_le_bytes());
        to.extend_from_slice(self.key);
        to.extend_from_slice(self.value.unwrap_or_default());
        let checksum = xxh3_64_with_seed(&to[start + 8..], before);
        to[start..start + 8].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }
}

/// The fixed part of a record, not to be trusted before the checksum of the whole was found right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed<'a> {
    bytes: &'a [u8; RECORD_BYTES],
}

impl<'a> Fixed<'a> {
    pub(crate) fn of(bytes: &'a [u8; RECORD_BYTES]) -> Self {
        Self { bytes }
    }

    /// Bytes that follow it, if there can be so many in `left`.
    pub(crate) fn body(&self, kind: Kind, left: u64) -> Option<usize> {
        let value = if kind == Kind::Entries { u64::from(self.value_len()) } else { 0 };
        let body = u64::from(self.key_len()) + value;
        (body <= left.min(MAX_ENTRY_BYTES)).then_some(usize::try_from(body).ok()).flatten()
    }

    fn key_len(&self) -> u32 {
        u32_at(self.bytes, 8)
    }

    fn value_len(&self) -> u32 {
        u32_at(self.bytes, 12)
    }
}

/// The record in `bytes`, which hold all of it and no more, and the checksum that the next part continues; `None`
/// where it is damaged.
pub(crate) fn record(bytes: &[u8], kind: Kind, before: u64) -> Option<(Record<'_>, u64)> {
    let (fixed, body) = bytes.split_first_chunk::<RECORD_BYTES>()?;
    let checksum = xxh3_64_with_seed(&bytes[8..], before);
    let (of, heat) = (Fixed::of(fixed), u8::try_from(u64_at(fixed, 24)).ok()?);
    if checksum != u64_at(fixed, 0) || of.body(kind, body.len() as u64)? != body.len() {
        return None;
    }
    let (key, value) = body.split_at_checked(of.key_len() as usize)?;
    let deadline = Some(u64_at(fixed, 16)).filter(|ms| *ms != NO_DEADLINE);
    let value = (kind == Kind::Entries).then_some(value);
    Some((Record { key, value, value_len: of.value_len(), deadline, heat }, checksum))
}

/// The last bytes of a file of `length` bytes, themselves included, with `records` records.
pub fn end(length: u64, records: u64, before: u64) -> [u8; END_BYTES] {
    let mut bytes = [0; END_BYTES];
    bytes[8..16].copy_from_slice(&END_MAGIC);
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    bytes[24..].copy_from_slice(&records.to_le_bytes());
    let checksum = xxh3_64_with_seed(&bytes[8..], before);
    bytes[..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Whether these are the last bytes of a file of `length` bytes, whatever comes before.
pub(crate) fn is_end(bytes: &[u8; END_BYTES], length: u64) -> bool {
    bytes[8..16] == END_MAGIC && u64_at(bytes, 16) == length
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    bytes[at..].first_chunk().map_or(0, |chunk| u128::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of `docs/warm-file.md`.
    #[test]
    fn the_written_example_is_what_is_written() {
        let header = Header { kind: Kind::Entries, token: 1, boot: 2, begun_ms: 3 };
        let (bytes, checksum) = header.pack();
        let mut all = bytes.to_vec();
        let entry = Record { key: b"key", value: Some(b"value"), value_len: 5, deadline: Some(9), heat: 15 };
        let last = entry.pack(&mut all, checksum);
        all.extend_from_slice(&end(136, 1, last));
        let text = include_str!("../../../docs/warm-file.md");
        let shown = text.split("```").nth(1).unwrap();
        let shown: String = shown.lines().skip(1).flat_map(|line| line.split("  ").next()).collect();
        assert_eq!(hex(&all), shown.replace([' ', '\n'], ""), "{}", hex(&all));
        assert_eq!(Header::unpack(&bytes), Ok((header, checksum)));
        assert_eq!(record(&all[64..104], Kind::Entries, checksum), Some((entry, last)));
    }

    #[test]
    fn a_record_elsewhere_is_no_record() {
        let entry = Record { key: b"k", value: None, value_len: 7, deadline: None, heat: 0 };
        let mut bytes = Vec::new();
        let last = entry.pack(&mut bytes, 5);
        assert_eq!(record(&bytes, Kind::Names, 5), Some((entry, last)));
        assert_eq!(record(&bytes, Kind::Names, 6), None);
        assert_eq!(record(&bytes[..32], Kind::Names, 5), None);
        assert_eq!(record(&bytes, Kind::Entries, 5), None);
    }

    #[test]
    fn no_length_is_believed_beyond_what_is_there() {
        let mut bytes = [0; RECORD_BYTES];
        bytes[8..16].fill(0xff);
        assert_eq!(Fixed::of(&bytes).body(Kind::Entries, u64::MAX), None);
        assert_eq!(Fixed::of(&bytes).body(Kind::Names, 1 << 20), None);
        bytes[8..16].copy_from_slice(&[3, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(Fixed::of(&bytes).body(Kind::Entries, 8), Some(8));
        assert_eq!(Fixed::of(&bytes).body(Kind::Entries, 7), None);
        assert_eq!(Fixed::of(&bytes).body(Kind::Names, 7), Some(3));
    }
}
