//! Has the kernel tell readers that the owner is dead, whatever it died of, in the memory itself.
//!
//! When a thread ends, the kernel goes through the list of robust futexes that the thread has registered, and sets a bit
//! in each one that holds the thread's number. A thread of its own registers a word of the shared memory and does nothing
//! else: the bit is set when the process ends, by SIGKILL too, and before any of its sockets is closed. Whoever has had
//! an answer from a successor at the same path can no longer find that word without the bit.

use std::ffi::c_long;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Room for what an allocator does in a thread that is new to it; what is not touched costs nothing, and the thread only waits.
const STACK_BYTES: usize = 256 << 10;

/// A word that is watched over; no longer when this is dropped, and then the word is 0 again.
#[derive(Debug)]
pub(crate) struct Obituary {
    /// Ends the thread when it is dropped.
    life: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// `struct robust_list_head` of the kernel, followed by its only link. The list is a ring that begins and ends here.
#[repr(C)]
struct Registered {
    next: *mut Link,
    /// From a link to its futex, in bytes.
    offset: c_long,
    pending: *mut Link,
    link: Link,
}

#[repr(C)]
struct Link {
    next: *mut Link,
}

/// A word of mapped memory that outlives the thread it is handed to.
struct Word(NonNull<AtomicU64>);

// SAFETY: it stands for a shared reference to an atomic, which any thread may have.
#[expect(unsafe_code, reason = "a raw pointer stands for a word of the mapping")]
unsafe impl Send for Word {}

impl Obituary {
    /// Watches over the word behind `word`, which is 0.
    ///
    /// # Errors
    /// When no thread is to be had, or the kernel does not take the registration: then the word stays 0.
    ///
    /// # Safety
    /// The word stays mapped and writable until the value is dropped.
    #[expect(unsafe_code, reason = "the word must outlive the thread, which no lifetime says")]
    pub(crate) unsafe fn of(word: NonNull<AtomicU64>) -> io::Result<Self> {
        let (life, end) = channel();
        let (began, beginning) = channel();
        let word = Word(word);
        let name = "synapse-owner".to_owned();
        let watch = move || watch(&word, &began, &end);
        let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(watch)?;
        let watching = Self { life: Some(life), thread: Some(thread) };
        beginning.recv().map_err(|_| io::Error::other("the thread has ended"))??;
        Ok(watching)
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked; if it had, there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

fn watch(word: &Word, began: &Sender<io::Result<()>>, end: &Receiver<()>) {
    #[expect(unsafe_code, reason = "the word behind the pointer")]
    // SAFETY: by the contract of `Obituary::of` it is mapped until this thread has been joined.
    let word = unsafe { word.0.as_ref() };
    let mut list = Registered {
        next: ptr::null_mut(),
        offset: 0,
        pending: ptr::null_mut(),
        link: Link { next: ptr::null_mut() },
    };
    let list = &raw mut list;
    let (before, size) = match registered() {
        Ok(found) => found,
        Err(error) => return drop(began.send(Err(error))),
    };
    fill(list, word);
    if let Err(error) = register(list, size_of::<[usize; 3]>()) {
        return drop(began.send(Err(error)));
    }
    #[expect(unsafe_code, reason = "a system call that the standard library does not know")]
    // SAFETY: it has no arguments and cannot fail.
    let thread = unsafe { libc::gettid() };
    word.store(u64::from(thread.unsigned_abs()), Ordering::Release);
    let _ = began.send(Ok(()));
    // An error says that the other end is gone, which is what is waited for.
    let _ = end.recv();
    word.store(0, Ordering::Release);
    // `list` ends with this call, so the list from before is put back.
    let _ = register(before, size);
}

/// Makes `list` a ring with one link, whose futex is the lower half of `word`.
#[expect(unsafe_code, reason = "a value that points to itself")]
fn fill(list: *mut Registered, word: &AtomicU64) {
    // SAFETY: `list` points to the caller's value; no reference is made.
    let link = unsafe { &raw mut (*list).link };
    // Both are addresses of user space, so their difference fits.
    let offset = ptr::from_ref(word).addr().wrapping_sub(link.addr()) as c_long;
    let link_back = Link { next: list.cast() };
    // SAFETY: as above; nobody has a reference to it.
    unsafe { list.write(Registered { next: link, offset, pending: ptr::null_mut(), link: link_back }) };
}

/// The list of this thread: the standard library's, which is not used in it.
#[expect(unsafe_code, reason = "a system call that the standard library does not know")]
fn registered() -> io::Result<(*mut Registered, usize)> {
    let (mut list, mut size) = (ptr::null_mut(), 0_usize);
    // SAFETY: 0 is this thread, and the kernel writes a pointer and a size to where both belong.
    let answer = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list, &raw mut size) };
    if answer == 0 { Ok((list, size)) } else { Err(io::Error::last_os_error()) }
}

/// Registers a list for this thread. It stays in place until another is registered, or the thread has ended.
#[expect(unsafe_code, reason = "a system call that the standard library does not know")]
fn register(list: *mut Registered, size: usize) -> io::Result<()> {
    // SAFETY: the call reads nothing now. When the thread ends, the kernel reads a list that is in place, by the contract
    // of this function, and takes addresses that cannot be read for the end of it.
    let answer = unsafe { libc::syscall(libc::SYS_set_robust_list, list, size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
