//! A warm file: whole, it is read as it was written; damaged, it is read up to the damage at most, and refused.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};
use synapse_warm::format::{END_BYTES, HEADER_BYTES, Header, Kind, Record, end};
use synapse_warm::left::Left;

const TOKEN: u128 = 7;

/// No record is added to a file that is longer, and no damage done beyond so many.
const LONGEST: usize = 1 << 20;
const MOST_DAMAGES: usize = 16;

/// A file as it is written.
struct Image {
    bytes: Vec<u8>,
    written: Vec<Written>,
    /// Records before the first whose length is another than it says.
    honest: usize,
}

#[derive(PartialEq, Eq)]
struct Written {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    value_len: u32,
    deadline: Option<u64>,
    heat: u8,
}

/// Takes `data` for a file, and for what is written to one and what becomes of it then.
pub(crate) fn run(data: &[u8]) {
    as_it_is(data);
    let (what, damages) = data.split_at(data.len() / 2);
    let image = Image::of(what);
    read_again(&image, &damaged(&image.bytes, damages));
}

/// Whatever is read of a file is, byte for byte, what is written for it.
fn as_it_is(data: &[u8]) {
    let token = data.get(16..32).and_then(|token| token.try_into().ok()).map(u128::from_le_bytes);
    let Some((header, _)) = data.split_first_chunk::<HEADER_BYTES>() else {
        assert!(!read(data, token, |_| {}));
        return;
    };
    let (_, checksum) = header.split_last_chunk().expect("it is longer");
    let (mut again, mut last, mut records) = (header.to_vec(), u64::from_le_bytes(*checksum), 0);
    let is_whole = read(data, token, |record| {
        last = record.pack(&mut again, last);
        records += 1;
        assert!(data.starts_with(&again));
    });
    if is_whole {
        again.extend_from_slice(&end(data.len() as u64, records, last));
        assert!(data == again);
    }
    assert!(!read(data, token.map(|token| !token), |_| panic!("it is somebody else's")));
}

fn read_again(image: &Image, bytes: &[u8]) {
    let mut expected = image.written[..image.honest].iter();
    let is_whole = read(bytes, Some(TOKEN), |record| {
        assert!(expected.next().is_some_and(|written| *written == Written::of(&record)));
    });
    let is_as_written = bytes == image.bytes && image.honest == image.written.len();
    assert_eq!(is_whole, is_as_written);
    assert!(!is_whole || expected.next().is_none());
}

/// Whether a file of these bytes is whole; what is read of it is shown.
fn read(bytes: &[u8], token: Option<u128>, mut show: impl FnMut(Record<'_>)) -> bool {
    thread_local! {
        static FILE: File = memfd_create("warm", MemfdFlags::CLOEXEC).expect("memory").into();
    }
    let file = FILE.with(|file| {
        file.set_len(bytes.len() as u64)?;
        file.write_all_at(bytes, 0)?;
        file.try_clone()
    });
    let Ok(mut left) = Left::open(file.expect("a file in memory"), token, 5) else { return false };
    loop {
        match left.read() {
            Ok(Some(record)) => show(record),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

// === impl Image ===

impl Image {
    /// Takes `what` for the kind, the boot, and records of four bytes each.
    fn of(what: &[u8]) -> Self {
        let mut input = what.iter().copied();
        let first = input.next().unwrap_or_default();
        let kind = if first % 2 == 0 { Kind::Entries } else { Kind::Names };
        let header = Header { kind, token: TOKEN, boot: u128::from(first / 2), begun_ms: 3 };
        let (bytes, mut last) = header.pack();
        let mut image = Self { bytes: bytes.to_vec(), written: Vec::new(), honest: 0 };
        while let (Some(key), Some(value), Some(how), Some(heat)) =
            (input.next(), input.next(), input.next(), input.next())
        {
            if image.bytes.len() > LONGEST {
                break;
            }
            let length = usize::from(value) * [1, 1, 9, 1200][usize::from(how % 4)];
            let true_len = length as u32;
            let said = match how / 64 {
                0 => true_len.wrapping_add(u32::from(heat)),
                1 if heat % 2 == 0 => u32::MAX - u32::from(heat),
                _ => true_len,
            };
            let record = Written {
                key: vec![key; usize::from(key)],
                value: (kind == Kind::Entries).then(|| vec![value; length]),
                value_len: said,
                deadline: [None, Some(0), Some(u64::from(how)), Some(u64::MAX - 1)][usize::from(how / 4 % 4)],
                heat,
            };
            last = record.lend().pack(&mut image.bytes, last);
            let is_honest = kind == Kind::Names || said == true_len;
            if is_honest && image.honest == image.written.len() {
                image.honest += 1;
            }
            image.written.push(record);
        }
        let length = (image.bytes.len() + END_BYTES) as u64;
        image.bytes.extend_from_slice(&end(length, image.written.len() as u64, last));
        image
    }
}

// === impl Written ===

impl Written {
    fn of(record: &Record<'_>) -> Self {
        let Record { key, value, value_len, deadline, heat } = *record;
        Self { key: key.to_vec(), value: value.map(<[u8]>::to_vec), value_len, deadline, heat }
    }

    fn lend(&self) -> Record<'_> {
        let Self { key, value, value_len, deadline, heat } = self;
        Record { key, value: value.as_deref(), value_len: *value_len, deadline: *deadline, heat: *heat }
    }
}

/// Takes `damages` for what has become of `bytes`, four bytes each.
fn damaged(bytes: &[u8], damages: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages.chunks_exact(4).take(MOST_DAMAGES) {
        let (what, with) = (damage[0], damage[3]);
        // From the beginning, or from the end.
        let far = usize::from(u16::from_le_bytes([damage[1], damage[2]])) % (bytes.len() + 1);
        let at = if what / 8 % 2 == 0 { far } else { bytes.len() - far };
        let some = at..bytes.len().min(at + usize::from(with));
        match what % 8 {
            0 | 1 if at < bytes.len() => bytes[at] ^= with,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, with),
            4 => drop(bytes.drain(some)),
            // Never brought to the disk...
            5 => bytes[some].fill(0),
            // ...or brought elsewhere.
            6 => {
                let there = usize::from(what) * 16 % (bytes.len() - some.len() + 1);
                bytes.copy_within(some, there);
            }
            7 => {
                let again = bytes[some].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {}
        }
    }
    bytes
}
