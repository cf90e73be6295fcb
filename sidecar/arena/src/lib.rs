//! The hot tier: one budgeted piece of memory, its index, eviction and deadlines, readable by other processes.
//!
//! One process owns an [`arena::Arena`] and is its only writer. Others map the same memory read-only and ask it through
//! [`reader::Reader`], without a lock and without a system call. `docs/shared-memory.md` describes every byte of it.
//! Nothing here does I/O, waits, or knows a protocol.

pub mod arena;
#[cfg(debug_assertions)]
mod audit;
pub mod cells;
pub mod clock;
pub mod entry;
mod eviction;
mod expiry;
mod ghosts;
pub mod hash;
mod heat;
mod index;
mod large_pages;
pub mod layout;
mod obituary;
mod one_key;
pub mod reader;
pub mod recall;
pub mod region;
mod segments;
pub mod stats;
pub mod upkeep;
mod windows;
pub mod writer;
