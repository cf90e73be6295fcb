//! The fuzz targets of the arena, briefly and always the same: `make fuzz` goes on from here.
#![cfg(not(miri))]

#[path = "../../../fuzz/src/arena.rs"]
mod arena;
#[path = "../../../fuzz/src/reader.rs"]
mod reader;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn the_arena_and_its_reader_are_a_map_with_deadlines() {
    replay("arena", 100, arena::run);
}

#[test]
fn a_reader_survives_memory_that_is_not_as_it_should_be() {
    replay("reader", 60_000, reader::run);
}
