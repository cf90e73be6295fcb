//! The fuzz targets of the wires, briefly and always the same: `make fuzz` goes on from here.

#[path = "../../../fuzz/src/frames.rs"]
mod frames;
#[path = "../../../fuzz/src/http.rs"]
mod http;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/resp.rs"]
mod resp;

use replay::replay;

#[test]
fn resp_is_decoded_as_it_is_looked_at() {
    replay("resp", 4_000, resp::run);
}

#[test]
fn frames_are_decoded_as_they_are_looked_at_and_written() {
    replay("frames", 60_000, frames::run);
}

#[test]
fn http_is_decoded_in_one_way() {
    replay("http", 12_000, http::run);
}
