//! Which large pages the memory of one process asks for: those of which every word is used.
//!
//! The kernel fills a large page at the first store to it, and puts small ones together again later: what was given back
//! would be resident all the same. So where something was given back there are small pages until all of it is used again.

use std::ops::Range;

use crate::large_pages::LARGE_PAGE;
use crate::region::WORD;

/// The windows of a mapping, one for each large page that lies in it wholly or in part.
#[derive(Debug)]
pub(crate) struct Windows {
    windows: Box<[Window]>,
    /// Where the first window begins, in words before the mapping.
    before: usize,
    /// Words of the mapping.
    words: usize,
    /// Whether large pages were asked for at all.
    has_begun: bool,
}

#[derive(Debug, Clone)]
struct Window {
    /// Words that are not used.
    unused: u32,
    /// Something was given back, and has not been used again.
    has_holes: bool,
}

const WINDOW_WORDS: usize = LARGE_PAGE / WORD;

impl Windows {
    /// Of a mapping of so many bytes that begins at this address, of which no word is used.
    pub(crate) fn over(base: usize, bytes: usize) -> Self {
        let (before, words) = (base % LARGE_PAGE / WORD, bytes / WORD);
        let window = Window { unused: WINDOW_WORDS as u32, has_holes: false };
        let count = (before + words).div_ceil(WINDOW_WORDS);
        let mut windows = Self { windows: vec![window; count].into(), before, words, has_begun: false };
        // What lies in a window but not in the mapping is nobody's.
        for n in 0..count {
            windows.windows[n].unused = windows.place(n).len() as u32;
        }
        windows
    }

    /// These words are used from now on; returns for what large pages are to be asked for.
    pub(crate) fn occupy(&mut self, at: usize, words: usize, are_worthwhile: bool) -> Vec<Range<usize>> {
        let mut whole = Vec::new();
        for (n, words) in self.parts(at, words) {
            let window = &mut self.windows[n];
            window.unused = window.unused.saturating_sub(words);
            if window.unused == 0 && std::mem::take(&mut window.has_holes) {
                whole.push(n);
            }
        }
        if !self.has_begun && are_worthwhile {
            self.has_begun = true;
            whole = (0..self.windows.len()).filter(|n| !self.windows[*n].has_holes).collect();
        }
        if self.has_begun { self.places(whole) } else { Vec::new() }
    }

    /// These words are given back; returns for what there must be no large pages from now on.
    pub(crate) fn release(&mut self, at: usize, words: usize) -> Vec<Range<usize>> {
        let mut holed = Vec::new();
        for (n, words) in self.parts(at, words) {
            let window = &mut self.windows[n];
            window.unused += words;
            if !std::mem::replace(&mut window.has_holes, true) {
                holed.push(n);
            }
        }
        self.places(holed)
    }

    /// The windows in which these words lie, and how many of them in each.
    fn parts(&self, at: usize, words: usize) -> impl Iterator<Item = (usize, u32)> + use<> {
        let (begin, end) = (self.before + at, self.before + at + words);
        (begin / WINDOW_WORDS..end.div_ceil(WINDOW_WORDS)).map(move |n| {
            let window = n * WINDOW_WORDS..(n + 1) * WINDOW_WORDS;
            (n, (end.min(window.end) - begin.max(window.start)) as u32)
        })
    }

    /// The words of the mapping that lie in windows, which come in their order.
    fn places(&self, windows: Vec<usize>) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        for place in windows.into_iter().map(|n| self.place(n)) {
            match places.last_mut() {
                Some(last) if last.end == place.start => last.end = place.end,
                _ => places.push(place),
            }
        }
        places
    }

    /// The words of the mapping that lie in a window.
    fn place(&self, n: usize) -> Range<usize> {
        let begin = (n * WINDOW_WORDS).saturating_sub(self.before);
        begin..((n + 1) * WINDOW_WORDS - self.before).min(self.words)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
mod tests {
    use super::*;

    const QUARTER: usize = WINDOW_WORDS / 4;

    fn windows(before: usize, words: usize) -> Windows {
        Windows::over(7 * LARGE_PAGE + before * WORD, words * WORD)
    }

    #[test]
    fn large_pages_are_asked_for_once_they_are_worthwhile() {
        let mut windows = windows(QUARTER, 2 * WINDOW_WORDS);
        assert_eq!(windows.occupy(0, QUARTER, false), []);
        assert_eq!(windows.occupy(QUARTER, QUARTER, true), [0..8 * QUARTER]);
        assert_eq!(windows.occupy(2 * QUARTER, 6 * QUARTER, true), []);
    }

    #[test]
    fn where_something_was_given_back_pages_are_small_until_all_is_used_again() {
        let mut windows = windows(0, 3 * WINDOW_WORDS);
        windows.occupy(0, 3 * WINDOW_WORDS, true);
        assert_eq!(windows.release(3 * QUARTER, 2 * QUARTER), [0..8 * QUARTER]);
        assert_eq!(windows.release(0, QUARTER), []);
        assert_eq!(windows.occupy(3 * QUARTER, 2 * QUARTER, true), [4 * QUARTER..8 * QUARTER]);
        assert_eq!(windows.occupy(0, QUARTER, true), [0..4 * QUARTER]);
        assert_eq!(windows.release(0, QUARTER), [0..4 * QUARTER]);
    }

    #[test]
    fn holes_from_before_large_pages_were_worthwhile_stay_small() {
        let mut windows = windows(0, 2 * WINDOW_WORDS);
        windows.occupy(0, 2 * WINDOW_WORDS, false);
        assert_eq!(windows.release(0, 2 * QUARTER), [0..4 * QUARTER]);
        assert_eq!(windows.occupy(0, QUARTER, true), [4 * QUARTER..8 * QUARTER]);
        assert_eq!(windows.occupy(QUARTER, QUARTER, true), [0..4 * QUARTER]);
    }
}
