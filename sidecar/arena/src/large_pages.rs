//! Has the kernel put the memory of a memfd into large pages, on a thread of its own.
//!
//! `shmem_enabled` is `never` on most nodes, but a process may ask for one large page at a time whatever it says
//! (`MADV_COLLAPSE`, Linux 6.1). That waits for all processors, so it is not for the thread that serves.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Bytes of a large page.
pub(crate) const LARGE_PAGE: usize = 2 << 20;
/// Bytes that lie in the first of the small ones.
const SMALL_PAGE: usize = 4 << 10;

/// Room for what an allocator does in a thread that is new to it; what is not touched costs nothing.
const STACK_BYTES: usize = 256 << 10;

/// Asks for large pages until it is dropped.
#[derive(Debug)]
pub(crate) struct LargePages {
    /// Ends the thread when it is dropped.
    wanted: Option<Sender<usize>>,
    thread: Option<JoinHandle<()>>,
    /// Those below this number have been asked for.
    asked: usize,
    /// How many fit into the memory.
    all: usize,
}

/// The beginning of a mapping that outlives the thread it is handed to.
struct Mapping(NonNull<AtomicU64>);

// SAFETY: the thread makes no reference of it: it is an address for the kernel.
#[expect(unsafe_code, reason = "a raw pointer stands for the mapping")]
unsafe impl Send for Mapping {}

impl LargePages {
    /// For so many bytes from `base` on.
    ///
    /// # Errors
    /// When no thread is to be had.
    ///
    /// # Safety
    /// They are mapped until the value is dropped, writable and shared, from a memfd and its beginning.
    #[expect(unsafe_code, reason = "the mapping must outlive the thread, which no lifetime says")]
    pub(crate) unsafe fn of(base: NonNull<AtomicU64>, bytes: usize) -> io::Result<Self> {
        let (wanted, numbers) = channel();
        let mapping = Mapping(base);
        let name = "synapse-pages".to_owned();
        let enlarge = move || enlarge(&mapping, &numbers);
        let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(enlarge)?;
        Ok(Self { wanted: Some(wanted), thread: Some(thread), asked: 0, all: bytes / LARGE_PAGE })
    }

    /// The first `bytes` are in use.
    pub(crate) fn reach(&mut self, bytes: usize) {
        let reached = bytes.div_ceil(LARGE_PAGE).min(self.all);
        let Some(wanted) = &self.wanted else { return };
        for number in self.asked..reached {
            // Where the kernel has none the thread has ended.
            let _ = wanted.send(number);
        }
        self.asked = self.asked.max(reached);
    }
}

impl Drop for LargePages {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked; if it had, there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

fn enlarge(mapping: &Mapping, numbers: &Receiver<usize>) {
    for number in numbers {
        let page = mapping.0.as_ptr().wrapping_byte_add(number * LARGE_PAGE);
        // What is all a hole is not enlarged. Neither changes what can be read, and where the kernel has no large page,
        // or none now, this one stays in small ones.
        let _ = advise(page, SMALL_PAGE, libc::MADV_POPULATE_WRITE);
        let _ = collapse(page);
    }
}

/// Asks for the large page that begins here.
pub(crate) fn collapse(page: *mut AtomicU64) -> io::Result<()> {
    advise(page, LARGE_PAGE, libc::MADV_COLLAPSE)
}

#[expect(unsafe_code, reason = "a piece of advice that rustix does not know")]
fn advise(at: *mut AtomicU64, bytes: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the advice is one of both that are given above, and neither changes what can be read; where nothing is
    // mapped, the kernel answers with an error.
    match unsafe { libc::madvise(at.cast(), bytes, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
