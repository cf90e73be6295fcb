//! What was left: read record by record, each checked before it is shown.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use thiserror::Error;

use crate::format::{
    Damage, END_BYTES, Fixed, HEADER_BYTES, Header, Kind, RECORD_BYTES, Record, end, is_end, record,
};
use crate::random;

/// A file that was left, by the last process that had the claim. It has no name any more.
#[derive(Debug)]
pub struct Left {
    file: BufReader<File>,
    kind: Kind,
    deadlines_hold: bool,
    checksum: u64,
    length: u64,
    /// Bytes of records that were not read yet.
    left: u64,
    records: u64,
    record: Vec<u8>,
}

/// Why what was left is refused.
#[derive(Debug, Error)]
pub enum Refused {
    /// It is not as it was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The file system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

const READ_BYTES: usize = 256 << 10;

// === impl Left ===

impl Left {
    /// What lies in `file`, which whoever had `token` has left; [`Claim::take`](crate::claim::Claim::take) knows both.
    /// `boot_ms` is the present millisecond of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// When it is not whole, or was left by somebody else.
    pub fn open(file: File, token: Option<u128>, boot_ms: u64) -> Result<Self, Refused> {
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let mut bytes = [0; END_BYTES];
        file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES as u64)))?;
        let has_end = read_exact(&mut file, &mut bytes)? && is_end(&bytes, length);
        let mut bytes = [0; HEADER_BYTES];
        file.seek(SeekFrom::Start(0))?;
        let has_header = read_exact(&mut file, &mut bytes)?;
        let left = length.checked_sub((HEADER_BYTES + END_BYTES) as u64);
        // Of a file in another version, nothing but that is known.
        let header = if has_header { Some(Header::unpack(&bytes)?) } else { None };
        let (Some((header, checksum)), Some(left), true) = (header, left, has_end) else {
            return Err(Damage::End.into());
        };
        if token != Some(header.token) {
            return Err(Damage::NotTheLast.into());
        }
        let deadlines_hold = header.boot != 0 && header.boot == random::boot() && header.begun_ms <= boot_ms;
        let record = Vec::with_capacity(RECORD_BYTES);
        Ok(Self { file, kind: header.kind, deadlines_hold, checksum, length, left, records: 0, record })
    }

    /// What the records are good for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether deadlines mean the moments that they meant when they were written: not after the machine was started
    /// anew, when nobody knows for how long it was away.
    pub fn deadlines_hold(&self) -> bool {
        self.deadlines_hold
    }

    /// Records that were read.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next record, `None` behind the last one of a file that is whole. What was read up to an error is as it was
    /// written all the same.
    ///
    /// # Errors
    /// When the file is not as it was written.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, Refused> {
        let damaged = Damage::Record(self.records);
        if self.left == 0 {
            return self.read_end().map(|()| None);
        }
        let mut fixed = [0; RECORD_BYTES];
        self.left = self.left.checked_sub(RECORD_BYTES as u64).ok_or(damaged)?;
        if !read_exact(&mut self.file, &mut fixed)? {
            return Err(damaged.into());
        }
        let body = Fixed::of(&fixed).body(self.kind, self.left).ok_or(damaged)?;
        self.left -= body as u64;
        self.record.clear();
        // A large one has passed: what it took is needed elsewhere.
        self.record.shrink_to(READ_BYTES);
        self.record.extend_from_slice(&fixed);
        // Grows with what comes, not with what was promised.
        let read = (&mut self.file).take(body as u64).read_to_end(&mut self.record)?;
        if read < body {
            return Err(damaged.into());
        }
        let (record, checksum) = record(&self.record, self.kind, self.checksum).ok_or(damaged)?;
        self.checksum = checksum;
        self.records += 1;
        Ok(Some(record))
    }

    fn read_end(&mut self) -> Result<(), Refused> {
        let mut bytes = [0; END_BYTES];
        self.file.seek(SeekFrom::Start(self.length - END_BYTES as u64))?;
        let is_whole =
            read_exact(&mut self.file, &mut bytes)? && bytes == end(self.length, self.records, self.checksum);
        if is_whole { Ok(()) } else { Err(Damage::End.into()) }
    }
}

/// False when there is not as much to be read.
fn read_exact(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;

    type Owned = (Vec<u8>, Option<Vec<u8>>, Option<u64>, u8);

    fn records(count: usize, largest: usize) -> Vec<Owned> {
        let one = |n: usize| {
            let value = vec![n as u8; n * 7919 % (largest + 1)];
            (
                format!("key:{n}").into_bytes(),
                Some(value),
                (!n.is_multiple_of(3)).then_some(n as u64),
                (n % 16) as u8,
            )
        };
        (0..count).map(one).collect()
    }

    /// The bytes of a file, and where each of its parts begins.
    fn image(records: &[Owned]) -> (Vec<u8>, Vec<usize>) {
        let header = Header { kind: Kind::Entries, token: 7, boot: random::boot(), begun_ms: 5 };
        let (header, mut checksum) = header.pack();
        let (mut bytes, mut borders) = (header.to_vec(), vec![0]);
        for (key, value, deadline, heat) in records {
            borders.push(bytes.len());
            let value_len = value.as_ref().map_or(0, Vec::len) as u32;
            let record = Record { key, value: value.as_deref(), value_len, deadline: *deadline, heat: *heat };
            checksum = record.pack(&mut bytes, checksum);
        }
        borders.push(bytes.len());
        let length = (bytes.len() + END_BYTES) as u64;
        bytes.extend_from_slice(&end(length, records.len() as u64, checksum));
        (bytes, borders)
    }

    /// A file whose content is what a test says, again and again.
    struct Disk(File);

    impl Disk {
        fn new() -> Self {
            Self(tempfile::tempfile().unwrap())
        }

        /// What is read of these bytes, and how that ends.
        fn read(&self, bytes: &[u8], token: u128) -> (Vec<Owned>, Result<(), Refused>) {
            self.0.set_len(bytes.len() as u64).unwrap();
            self.0.write_all_at(bytes, 0).unwrap();
            let mut seen = Vec::new();
            let mut left = match Left::open(self.0.try_clone().unwrap(), Some(token), 5) {
                Ok(left) => left,
                Err(refused) => return (seen, Err(refused)),
            };
            loop {
                match left.read() {
                    Ok(Some(Record { key, value, deadline, heat, .. })) => {
                        seen.push((key.to_vec(), value.map(<[u8]>::to_vec), deadline, heat));
                    }
                    Ok(None) => return (seen, Ok(())),
                    Err(refused) => return (seen, Err(refused)),
                }
            }
        }
    }

    #[test]
    fn a_whole_file_is_read_as_it_was_written() {
        for (count, largest) in [(0, 0), (1, 0), (50, 40), (9, 400_000)] {
            let written = records(count, largest);
            let (seen, ended) = Disk::new().read(&image(&written).0, 7);
            ended.unwrap();
            assert!(seen == written);
        }
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused_before_a_record_is_seen() {
        let (bytes, _) = image(&records(12, 60));
        let disk = Disk::new();
        for cut in 0..bytes.len() {
            let (seen, ended) = disk.read(&bytes[..cut], 7);
            assert!(ended.is_err() && seen.is_empty(), "cut at {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(disk.read(&longer, 7).1.is_err());
    }

    #[test]
    fn with_any_bit_flipped_a_file_is_refused_and_nothing_foreign_is_seen() {
        let written = records(12, 60);
        let (mut bytes, borders) = image(&written);
        let disk = Disk::new();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (seen, ended) = disk.read(&bytes, 7);
            let intact = borders.iter().filter(|border| bit / 8 >= **border).count().saturating_sub(2);
            assert!(ended.is_err(), "bit {bit}");
            assert!(seen.len() <= intact && seen[..] == written[..seen.len()], "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn sectors_that_never_reached_the_disk_are_noticed() {
        const SECTOR: usize = 512;
        let written = records(200, 900);
        let (bytes, borders) = image(&written);
        let disk = Disk::new();
        let cuts = borders.iter().flat_map(|border| [border.saturating_sub(1), *border, border + 1]);
        for cut in cuts.chain((0..bytes.len()).step_by(SECTOR)) {
            let (seen, ended) = disk.read(&bytes[..cut], 7);
            assert!(ended.is_err() && seen.is_empty(), "cut at {cut}");
        }
        for first in (0..bytes.len()).step_by(SECTOR) {
            let sector = first..(first + SECTOR).min(bytes.len());
            let mut torn = bytes.clone();
            torn[sector.clone()].fill(0);
            let (seen, ended) = disk.read(&torn, 7);
            assert!(ended.is_err() && seen[..] == written[..seen.len()], "zeros from {first}");
            // Another sector in its place, as a device may write it.
            torn[sector.clone()].copy_from_slice(&bytes[bytes.len() - sector.len()..]);
            let (seen, ended) = disk.read(&torn, 7);
            let is_last = sector.end == bytes.len();
            assert!((is_last || ended.is_err()) && seen[..] == written[..seen.len()], "another at {first}");
        }
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let (bytes, borders) = image(&records(3, 9));
        let disk = Disk::new();
        let damage = |bytes: &[u8], token| match disk.read(bytes, token).1 {
            Err(Refused::Damage(damage)) => damage,
            other => panic!("{other:?}"),
        };
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(damage(&bytes, 8), Damage::NotTheLast);
        assert_eq!(damage(&with(0, b'X'), 7), Damage::Foreign);
        assert_eq!(damage(&with(8, 0), 7), Damage::Version(0));
        assert_eq!(damage(&with(12, 9), 7), Damage::Header);
        assert_eq!(damage(&with(borders[2], !bytes[borders[2]]), 7), Damage::Record(1));
        assert_eq!(damage(&with(bytes.len() - 1, 9), 7), Damage::End);
        assert_eq!(damage(&bytes[..70], 7), Damage::End);
        // A value of 4 GiB, and nothing is asked for it.
        assert_eq!(damage(&with(borders[1] + 15, 0xff), 7), Damage::Record(0));
    }

    #[test]
    fn deadlines_of_another_boot_or_of_the_future_do_not_hold() {
        let disk = Disk::new();
        let hold = |boot, begun_ms| {
            let (header, checksum) = Header { kind: Kind::Names, token: 7, boot, begun_ms }.pack();
            let bytes = [&header[..], &end(96, 0, checksum)].concat();
            disk.0.write_all_at(&bytes, 0).unwrap();
            disk.0.set_len(96).unwrap();
            Left::open(disk.0.try_clone().unwrap(), Some(7), 5).unwrap().deadlines_hold()
        };
        assert!(hold(random::boot(), 5));
        assert!(!hold(random::boot(), 6) && !hold(random::boot() + 1, 5) && !hold(0, 5));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_refused_or_shown_as_it_was_written(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let written = records(20, 90);
            let (original, _) = image(&written);
            let mut bytes = original.clone();
            for (at, byte) in changes {
                bytes[at.index(original.len())] = byte;
            }
            bytes.truncate(cut.map_or(original.len(), |cut| cut.index(original.len())));
            let (seen, ended) = Disk::new().read(&bytes, 7);
            prop_assert!(seen[..] == written[..seen.len()]);
            prop_assert_eq!(ended.is_ok(), bytes == original);
        }

        #[test]
        fn no_noise_is_a_file(bytes in prop::collection::vec(any::<u8>(), 0..300), with_magic: bool) {
            let mut bytes = bytes;
            if with_magic && bytes.len() > 12 {
                bytes[..12].copy_from_slice(b"SYNAWARM\x01\0\0\0");
            }
            prop_assert!(Disk::new().read(&bytes, 7).1.is_err());
        }
    }
}
