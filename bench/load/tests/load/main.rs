//! The program against real servers, and against servers that lie.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod liar;
mod lies;
mod program;
mod real;
