//! Where the words lie: in a memfd that other processes may map, in pages of this process alone, or on the heap. What is
//! `unsafe` is here, and in the two threads that such memory has: `obituary` and `large_pages`.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::param::page_size;

use crate::cells::{Cells, Owned};
use crate::large_pages::{LARGE_PAGE, LargePages};
use crate::obituary::Obituary;
use crate::windows::Windows;

/// Bytes in a word.
pub const WORD: usize = size_of::<u64>();

const LINE: usize = 64;

/// Larger pages are asked for when so many bytes are in use: before that, one of them (2 MiB) would be a large part.
const SMALL_PAGES_BYTES: usize = 4 << 20;

/// A piece of memory of fixed length, all zero at first.
pub struct Region {
    base: NonNull<AtomicU64>,
    words: usize,
    backing: Backing,
}

enum Backing {
    Heap,
    /// Mapped, of this process alone.
    Private(RefCell<Windows>),
    Memfd {
        fd: OwnedFd,
        /// Says in the memory when this process has ended; once it is shared.
        obituary: OnceLock<Option<Obituary>>,
        large_pages: OnceCell<Option<RefCell<LargePages>>>,
    },
    /// Mapped read-only from another process.
    Borrowed,
}

// SAFETY: the region owns its memory (or its mapping) as a `Box<[AtomicU64]>` would, and is not tied to a thread.
#[expect(unsafe_code, reason = "a raw pointer stands for the mapping")]
unsafe impl Send for Region {}

impl Region {
    /// Memory of this process alone: no other can read it.
    ///
    /// # Panics
    /// When `words` is 0.
    #[expect(
        unsafe_code,
        reason = "zeroed memory from the allocator, which the kernel has not yet made resident"
    )]
    pub fn heap(words: usize) -> Self {
        assert!(words > 0, "an empty region");
        let layout = heap_layout(words);
        // SAFETY: the layout is not empty, for `words` is not 0.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base.cast::<AtomicU64>()) else { handle_alloc_error(layout) };
        Self { base, words, backing: Backing::Heap }
    }

    /// Pages of this process alone: no other can read them. None is resident before it is stored to.
    ///
    /// # Errors
    /// What the kernel says: not so much address space.
    #[expect(unsafe_code, reason = "mmap")]
    pub fn private(words: usize) -> io::Result<Self> {
        let (bytes, protection) = (bytes_of(words)?, ProtFlags::READ | ProtFlags::WRITE);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: with a null hint and without MAP_FIXED the kernel chooses an address range that is not in use.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags)? };
        Ok(Self {
            base: mapped(base)?,
            words,
            backing: Backing::Private(RefCell::new(Windows::over(base.addr(), bytes))),
        })
    }

    /// Memory in a memfd, which [`Region::share`] lets others read. No page is resident before it is stored to.
    ///
    /// # Errors
    /// What the kernel says: no memfd under this seccomp profile, or not so much address space.
    pub fn memfd(words: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Some nodes refuse memory that could be executed; kernels before 6.3 do not know the question.
        let fd = rustix::fs::memfd_create("synapse-arena", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| rustix::fs::memfd_create("synapse-arena", flags))?;
        rustix::fs::ftruncate(&fd, bytes_of(words)? as u64)?;
        // The size is final before anybody else can see the descriptor: a reader's `ftruncate` would otherwise end the
        // owner with SIGBUS.
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
        let base = map(&fd, words, ProtFlags::READ | ProtFlags::WRITE)?;
        let backing = Backing::Memfd { fd, obituary: OnceLock::new(), large_pages: OnceCell::new() };
        Ok(Self { base, words, backing })
    }

    /// Another process's memory, to be read: all of it, and exactly as long as its owner made it.
    ///
    /// # Errors
    /// `InvalidData` when the descriptor is not of a memfd that is sealed against shrinking and against writing: only
    /// then is the mapping safe to read for ever. Otherwise what the kernel says.
    pub fn map_shared(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(fd)?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::FUTURE_WRITE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory offered is not sealed"));
        }
        let bytes = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        if bytes < WORD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory offered is empty"));
        }
        let words = bytes / WORD;
        Ok(Self { base: map(fd, words, ProtFlags::READ)?, words, backing: Backing::Borrowed })
    }

    /// The descriptor to hand to readers, sealed: they can neither write nor change its size or its seals. `None` for
    /// memory on the heap. From now on [`Owned::release`] is refused by the kernel.
    ///
    /// # Errors
    /// What the kernel says: `F_SEAL_FUTURE_WRITE` needs Linux 5.1.
    pub fn share(&self) -> io::Result<Option<BorrowedFd<'_>>> {
        let Backing::Memfd { fd, .. } = &self.backing else { return Ok(None) };
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        if !rustix::fs::fcntl_get_seals(fd)?.contains(seals) {
            rustix::fs::fcntl_add_seals(fd, seals)?;
        }
        Ok(Some(fd.as_fd()))
    }

    /// Has the kernel set [`crate::layout::DIED`] in the word `at`, which is 0, when this process ends, whatever it ends
    /// by. Where it does not do that the word stays 0.
    ///
    /// # Panics
    /// When there is no such word.
    #[expect(unsafe_code, reason = "hands a word of the memory to a thread")]
    pub(crate) fn announce_end(&self, at: usize) {
        let word = NonNull::from(&self.cells()[at]);
        if let Backing::Memfd { obituary, .. } = &self.backing {
            // SAFETY: the word is in the mapping, which is writable, and `drop` ends the obituary before it unmaps it.
            obituary.get_or_init(|| unsafe { Obituary::of(word) }.ok());
        }
    }

    /// Tells the kernel something about these words; false when it will not hear it.
    #[expect(unsafe_code, reason = "madvise")]
    fn advise(&self, at: usize, words: usize, advice: Advice) -> bool {
        let range = &self.cells()[at..at + words];
        // SAFETY: the range lies in this mapping, by the line above. Of the three pieces of advice that are given, two are
        // of the size of pages and change nothing that can be read; after the third the words read as 0, which is what a
        // store of 0 to each of them would do, and nobody borrows their bytes, by the contract of `Owned::bytes`.
        unsafe { rustix::mm::madvise(range.as_ptr().cast_mut().cast(), size_of_val(range), advice) }.is_ok()
    }

    #[expect(unsafe_code, reason = "the words behind the pointer, as a slice")]
    fn cells(&self) -> &[AtomicU64] {
        // SAFETY: `base` points to `words` words that live as long as `self`: every constructor got them from the
        // allocator or the kernel, aligned to a line or a page and readable; the size of a mapping is sealed. Shared
        // atomics allow for stores by others; stores by this process reach a read-only mapping through no function of
        // `Reader`, and would end in a fault, not in undefined behaviour of another kind.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Cells for Region {
    fn words(&self) -> usize {
        self.words
    }

    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.cells()[at].load(Ordering::Relaxed)
    }

    #[inline]
    fn load_acquire(&self, at: usize) -> u64 {
        self.cells()[at].load(Ordering::Acquire)
    }

    #[inline]
    fn store(&self, at: usize, word: u64) {
        self.cells()[at].store(word, Ordering::Relaxed);
    }

    #[inline]
    fn store_release(&self, at: usize, word: u64) {
        self.cells()[at].store(word, Ordering::Release);
    }

    #[inline]
    fn copy(&self, at: usize, to: &mut [[u8; WORD]]) {
        let from = &self.cells()[at..at + to.len()];
        for (chunk, cell) in to.iter_mut().zip(from) {
            *chunk = cell.load(Ordering::Relaxed).to_le_bytes();
        }
    }

    #[inline]
    fn fence_acquire(&self) {
        fence(Ordering::Acquire);
    }

    #[inline]
    fn fence_release(&self) {
        fence(Ordering::Release);
    }
}

impl Owned for Region {
    #[inline]
    #[expect(unsafe_code, reason = "the words of an entry, as the bytes they are")]
    fn bytes(&self, at: usize, skip: usize, len: usize) -> &[u8] {
        let covering = &self.cells()[at..at + (skip + len).div_ceil(WORD)];
        // SAFETY: `skip + len` bytes lie within `covering`, by the line above.
        let first = unsafe { covering.as_ptr().cast::<u8>().add(skip) };
        // SAFETY: the bytes are initialised (the region began as zeros) and inside `covering`. Nobody stores to them
        // while the slice lives: other processes cannot, for the descriptor is sealed before they get it, and the
        // owner does not, by the contract of `Owned::bytes`.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    #[inline]
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the prefetch instruction"))]
    fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let Some(cell) = self.cells().get(at) else { return };
            // SAFETY: a prefetch reads nothing that the program could see, and the address is that of a live word.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(cell).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    fn release(&self, at: usize, words: usize) -> bool {
        match &self.backing {
            Backing::Memfd { fd, .. } => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(fd, punch, (at * WORD) as u64, (words * WORD) as u64).is_ok()
            }
            Backing::Private(windows) => {
                for window in windows.borrow_mut().release(at, words) {
                    self.advise(window.start, window.len(), Advice::LinuxNoHugepage);
                }
                self.advise(at, words, Advice::LinuxDontNeed)
            }
            Backing::Heap | Backing::Borrowed => false,
        }
    }

    #[expect(unsafe_code, reason = "hands the mapping to a thread")]
    fn occupy(&self, at: usize, words: usize, resident: usize) {
        let are_worthwhile = resident * WORD > SMALL_PAGES_BYTES;
        match &self.backing {
            Backing::Private(windows) => {
                // Where the kernel has no larger pages, the small ones do.
                for window in windows.borrow_mut().occupy(at, words, are_worthwhile) {
                    self.advise(window.start, window.len(), Advice::LinuxHugepage);
                }
            }
            Backing::Memfd { large_pages, .. } if are_worthwhile => {
                // SAFETY: `memfd` mapped as many bytes from the beginning of one, shared and writable, and `drop` ends the
                // thread before it unmaps them.
                let of = || unsafe { LargePages::of(self.base, self.words * WORD) };
                if let Some(large_pages) = large_pages.get_or_init(|| of().map(RefCell::new).ok()) {
                    large_pages.borrow_mut().reach((at + words) * WORD);
                }
            }
            Backing::Memfd { .. } | Backing::Heap | Backing::Borrowed => {}
        }
    }
}

impl Drop for Region {
    #[expect(unsafe_code, reason = "memory goes back to where it came from")]
    fn drop(&mut self) {
        if let Backing::Memfd { obituary, large_pages, .. } = &mut self.backing {
            // Both threads have the memory until they have ended.
            drop(obituary.take());
            drop(large_pages.take());
        }
        match self.backing {
            // SAFETY: `heap` got it from the allocator with the same layout, and nothing borrows it any more.
            Backing::Heap => unsafe { dealloc(self.base.as_ptr().cast(), heap_layout(self.words)) },
            Backing::Memfd { .. } | Backing::Private { .. } | Backing::Borrowed => {
                // SAFETY: `map` or `private` made this mapping with this length, and nothing borrows it any more.
                let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.words * WORD) };
                debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
            }
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backing = match self.backing {
            Backing::Heap => "heap",
            Backing::Private { .. } => "private",
            Backing::Memfd { .. } => "memfd",
            Backing::Borrowed => "borrowed",
        };
        f.debug_struct("Region").field("bytes", &(self.words * WORD)).field("backing", &backing).finish()
    }
}

/// Maps a memfd from its beginning, so that a large page of it can be one of this process, too.
#[expect(unsafe_code, reason = "mmap")]
fn map(fd: impl AsFd, words: usize, protection: ProtFlags) -> io::Result<NonNull<AtomicU64>> {
    let bytes = bytes_of(words)?;
    let around = bytes.checked_add(LARGE_PAGE).ok_or(io::ErrorKind::InvalidInput)?;
    let (nothing, flags) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: with a null hint and without MAP_FIXED the kernel chooses an address range that is not in use.
    let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), around, nothing, flags)? };
    let before = start.addr().next_multiple_of(LARGE_PAGE) - start.addr();
    let base = start.wrapping_byte_add(before);
    let fixed = MapFlags::SHARED | MapFlags::FIXED;
    // SAFETY: the range lies in the one above, of which nobody else knows.
    let mapped_there = unsafe { rustix::mm::mmap(base, bytes, protection, fixed, fd, 0) };
    let end =
        base.wrapping_byte_add(if mapped_there.is_ok() { bytes.next_multiple_of(page_size()) } else { 0 });
    let after = start.addr() + around - end.addr();
    for (rest, length) in [(start, before), (end, after)] {
        if length > 0 {
            // SAFETY: this part of the range above was not mapped over, and nobody has its address.
            let unmapped = unsafe { rustix::mm::munmap(rest, length) };
            debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
        }
    }
    mapped(mapped_there?)
}

fn mapped(base: *mut std::ffi::c_void) -> io::Result<NonNull<AtomicU64>> {
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap at address 0"))
}

fn bytes_of(words: usize) -> io::Result<usize> {
    words
        .checked_mul(WORD)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn heap_layout(words: usize) -> Layout {
    // A region's length comes from a capacity that was checked: far below `isize::MAX` bytes.
    Layout::array::<AtomicU64>(words).and_then(|layout| layout.align_to(LINE)).unwrap_or(Layout::new::<u64>())
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::large_pages;

    #[test]
    fn a_region_begins_as_zeros_and_lends_the_bytes_of_its_words() {
        let region = Region::heap(16);
        assert_eq!(region.load(15), 0);
        region.store(3, u64::from_le_bytes(*b"abcdefgh"));
        region.store(4, u64::from_le_bytes(*b"ijklmnop"));
        assert_eq!(region.bytes(3, 2, 9), b"cdefghijk");
        region.prefetch(1 << 40);
    }

    #[test]
    fn what_words_hold_is_told_wherever_it_begins() {
        let region = Region::heap(8);
        (0..8)
            .for_each(|at| region.store(at, u64::from_le_bytes(std::array::from_fn(|n| (at * 8 + n) as u8))));
        let all: Vec<u8> = (0..64).collect();
        for (skip, len) in (0..8).flat_map(|skip| (0..=64 - skip).map(move |len| (skip, len))) {
            let mut bytes = all[skip..skip + len].to_vec();
            assert!(region.holds(0, skip, &bytes), "{len} bytes from {skip}");
            for at in 0..len {
                bytes[at] ^= 0x80;
                assert!(!region.holds(0, skip, &bytes), "{len} bytes from {skip}, another at {at}");
                bytes[at] ^= 0x80;
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "the kernel's memory")]
    fn pages_of_ones_own_go_back_whatever_their_size() {
        let region = Region::private(1 << 20).unwrap();
        for is_enlarged in [false, true] {
            region.store(512, 7);
            region.store((1 << 20) - 1, 8);
            assert!(region.release(512, 512));
            assert_eq!((region.load(512), region.load((1 << 20) - 1)), (0, 8), "enlarged: {is_enlarged}");
            region.occupy(0, 1 << 20, 1 << 20);
        }
        assert!(region.share().unwrap().is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "the kernel's memory")]
    fn what_is_stored_stays_while_its_pages_are_enlarged() {
        const WORDS: usize = 3 * LARGE_PAGE / WORD + 1024;
        let region = Region::memfd(WORDS).unwrap();
        assert!(region.base.addr().get().is_multiple_of(LARGE_PAGE));
        let reader = Region::map_shared(region.share().unwrap().unwrap()).unwrap();
        for used in [1, LARGE_PAGE / WORD, WORDS] {
            region.occupy(0, used, WORDS);
            // The other thread is at it, or will be.
            for round in 0..20 {
                (0..WORDS).step_by(61).for_each(|at| region.store(at, (at + round) as u64));
                assert!((0..WORDS).step_by(61).all(|at| reader.load(at) == (at + round) as u64));
            }
        }
        drop(region);
        assert_eq!(reader.load(61), 80);
    }

    /// Kilobytes of the mapping at `base` that lie in large pages.
    fn in_large_pages(base: usize) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let beginning = format!("{base:x}-");
        let ours = maps.lines().skip_while(|line| !line.starts_with(&beginning));
        let count = ours.map(str::split_whitespace).find_map(|mut words| {
            (words.next() == Some("ShmemPmdMapped:")).then(|| words.next().unwrap().parse().unwrap())
        });
        count.expect("the kernel says how shared memory is mapped")
    }

    #[test]
    #[cfg_attr(miri, ignore = "the kernel's memory")]
    fn what_is_shared_lies_in_large_pages_where_the_kernel_has_them() {
        let scratch = Region::memfd(LARGE_PAGE / WORD).unwrap();
        scratch.store(0, 1);
        if let Err(why) = large_pages::collapse(scratch.base.as_ptr()) {
            return eprintln!("not looked at: this kernel gives no large page to a memfd ({why})");
        }
        assert_eq!(in_large_pages(scratch.base.addr().get()), LARGE_PAGE as u64 >> 10);
        let region = Region::memfd(3 * LARGE_PAGE / WORD + 1024).unwrap();
        region.occupy(0, LARGE_PAGE / WORD + 1, SMALL_PAGES_BYTES);
        let base = region.base.addr().get();
        let deadline = Instant::now() + Duration::from_secs(20);
        while in_large_pages(base) < (2 * LARGE_PAGE as u64) >> 10 {
            assert!(Instant::now() < deadline, "{} KiB are in large pages", in_large_pages(base));
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "the kernel's memory")]
    fn pages_go_back_before_sharing_and_stay_after() {
        let region = Region::memfd(4096).unwrap();
        region.store(1024, 7);
        assert!(region.release(1024, 512));
        assert_eq!(region.load(1024), 0);
        assert!(region.share().unwrap().is_some());
        assert!(region.share().unwrap().is_some(), "twice is once");
        region.store(1024, 8);
        assert!(!region.release(1024, 512));
        assert_eq!(region.load(1024), 8);
    }
}
