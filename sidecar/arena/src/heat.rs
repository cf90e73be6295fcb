//! How often an entry is asked for: four bits that lose half as time goes by, three bits to know when that was counted.

use crate::entry::Head;

/// The most that is counted.
pub(crate) const HOTTEST: u8 = 15;

const EPOCHS: u8 = 8;
const DEAD: u8 = 0x80;

/// The accesses of one epoch, as a multiple of the entries held.
const PERIOD: u64 = 6;

const SHORTEST_PERIOD: u64 = 1 << 10;

/// Epochs in which a count loses half.
const HALF_LIFE: u8 = 4;

/// What is left of a count after so many epochs, in 1024ths: a quarter of a halving each.
const LEFT: [u32; EPOCHS as usize] = [1024, 861, 724, 609, 512, 431, 362, 304];

/// The heat byte of an entry that was asked for so often.
#[inline]
pub(crate) fn heat(count: u8, epoch: u8) -> u8 {
    count.min(HOTTEST) | (epoch % EPOCHS) << 4
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
    dice: u32,
}

impl Ageing {
    #[inline]
    pub(crate) fn epoch(&self) -> u8 {
        self.epoch
    }

    /// How often an entry with this heat byte was asked for, what is older less than what is newer.
    #[inline]
    pub(crate) fn count(&self, heat: u8) -> u8 {
        self.left(heat, 512)
    }

    /// The heat byte after so many accesses more.
    ///
    /// Small numbers cannot lose a sixth: what an epoch takes from them it takes by chance, and on average it is right.
    #[inline]
    pub(crate) fn touched(&mut self, before: u8, times: u8) -> u8 {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        heat(self.left(before, self.dice >> 22).saturating_add(times), self.epoch)
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

    /// Whether counts from now on have lost half once more than those before.
    pub(crate) fn begins_to_halve(&self) -> bool {
        self.epoch.is_multiple_of(HALF_LIFE)
    }

    /// Which part of `whole` should have lost half by now.
    pub(crate) fn share_of(&self, whole: usize) -> usize {
        let epochs = whole as u64 * u64::from(self.epoch % HALF_LIFE);
        let share = (whole as u64 * self.seen).checked_div(self.period).unwrap_or(0);
        ((epochs + share) / u64::from(HALF_LIFE)) as usize
    }

    #[inline]
    fn left(&self, heat: u8, rounding: u32) -> u8 {
        let age = self.epoch.wrapping_sub(heat >> 4) % EPOCHS;
        ((u32::from(heat & HOTTEST) * LEFT[usize::from(age)] + rounding) >> 10) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u8) -> Ageing {
        Ageing { epoch, ..Ageing::default() }
    }

    #[test]
    fn heat_loses_half_in_four_epochs_and_ends_at_the_hottest() {
        let mut byte = heat(1, 6);
        for _ in 0..20 {
            byte = at(6).touched(byte, 1);
        }
        assert_eq!([6, 7, 0, 1, 2, 5].map(|epoch| at(epoch).count(byte)), [15, 13, 11, 9, 8, 4]);
    }

    #[test]
    fn what_chance_takes_is_a_half_on_average() {
        let mut total = 0;
        let mut ageing = at(0);
        for _ in 0..4000 {
            let mut byte = heat(3, 0);
            for epoch in 1..=4 {
                ageing.epoch = epoch;
                byte = ageing.touched(byte, 0);
            }
            total += u32::from(byte & HOTTEST);
        }
        assert!((5700..6300).contains(&total), "{total}, 6000 expected");
    }

    #[test]
    fn an_epoch_ends_when_its_accesses_are_over() {
        let mut ageing = Ageing::default();
        assert!(ageing.pass(1, 1000));
        assert!(!ageing.pass(PERIOD * 1000 - 1, 1000));
        assert_eq!((ageing.begins_to_halve(), ageing.share_of(100)), (false, 49));
        assert!(ageing.pass(1, 0));
        assert_eq!((ageing.epoch(), ageing.share_of(100)), (2, 50));
        ageing.epoch = 4;
        assert_eq!((ageing.begins_to_halve(), ageing.share_of(100)), (true, 0));
    }
}
