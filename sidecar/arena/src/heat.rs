//! How often an entry is asked for: four bits that are halved as time goes by, three bits to know when that last was.

use crate::entry::Head;

/// The most that is counted.
pub(crate) const HOTTEST: u8 = 15;

const EPOCHS: u8 = 8;
const DEAD: u8 = 0x80;

/// The accesses of one epoch, as a multiple of the entries held.
const PERIOD: u64 = 24;

const SHORTEST_PERIOD: u64 = 1 << 12;

/// The heat byte of an entry that was asked for so often.
#[inline]
pub(crate) fn heat(count: u8, epoch: u8) -> u8 {
    count.min(HOTTEST) | (epoch % EPOCHS) << 4
}

/// How often it was asked for, the older half as much as the newer.
#[inline]
pub(crate) fn count(heat: u8, epoch: u8) -> u8 {
    let age = (epoch.wrapping_sub(heat >> 4)) % EPOCHS;
    (heat & HOTTEST) >> age
}

/// The heat byte after one access more.
#[inline]
pub(crate) fn touched(heat_before: u8, epoch: u8) -> u8 {
    heat(count(heat_before, epoch) + 1, epoch)
}

/// Whether no lane names the entry any more.
#[inline]
pub(crate) fn is_dead(head: Head) -> bool {
    head.heat & DEAD != 0
}

/// The header of an entry that no lane names any more.
pub(crate) fn dead(head: Head) -> Head {
    Head { heat: head.heat | DEAD, ..head }
}

/// The passing of time, counted in accesses.
#[derive(Debug, Default)]
pub(crate) struct Ageing {
    epoch: u8,
    seen: u64,
    period: u64,
}

impl Ageing {
    #[inline]
    pub(crate) fn epoch(&self) -> u8 {
        self.epoch
    }

    /// Counts accesses; true when an epoch has ended.
    #[inline]
    pub(crate) fn pass(&mut self, accesses: u64, entries: u64) -> bool {
        self.seen += accesses;
        if self.seen < self.period {
            return false;
        }
        self.seen = 0;
        self.period = (entries * PERIOD).max(SHORTEST_PERIOD);
        self.epoch = (self.epoch + 1) % EPOCHS;
        true
    }

    /// Which part of `whole` the epoch has behind it.
    pub(crate) fn share_of(&self, whole: usize) -> usize {
        (whole as u64 * self.seen).checked_div(self.period).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_halves_with_each_epoch_and_ends_at_the_hottest() {
        let mut byte = heat(1, 6);
        for _ in 0..20 {
            byte = touched(byte, 6);
        }
        assert_eq!([6, 7, 0, 1, 2].map(|epoch| count(byte, epoch)), [15, 7, 3, 1, 0]);
        assert_eq!(count(touched(byte, 0), 0), 4);
    }

    #[test]
    fn an_epoch_ends_when_its_accesses_are_over() {
        let mut ageing = Ageing::default();
        assert!(ageing.pass(1, 1000));
        assert!(!ageing.pass(PERIOD * 1000 - 1, 1000));
        assert_eq!(ageing.share_of(100), 99);
        assert!(ageing.pass(1, 0));
        assert_eq!((ageing.epoch(), ageing.share_of(100)), (2, 0));
    }
}
