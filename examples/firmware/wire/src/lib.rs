//! Frames between firmware and host: postcard inside COBS, each ended by a zero byte.
#![no_std]
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// What is said over the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame<'a> {
    /// The device publishes a message.
    Message {
        /// Its id: the same on every redelivery.
        id: &'a str,
        /// Its body.
        payload: &'a [u8],
    },
    /// The host has the message.
    Ack {
        /// Its id.
        id: &'a str,
    },
    /// The device is done: so many messages were acknowledged.
    Bye {
        /// How many.
        published: u32,
    },
}

/// The longest frame, in bytes.
pub const MAX_FRAME: usize = 96;

/// The bytes of a frame, its zero included; `None` if it is too long.
pub fn encode<'b>(frame: &Frame<'_>, buffer: &'b mut [u8; MAX_FRAME]) -> Option<&'b [u8]> {
    postcard::to_slice_cobs(frame, buffer).ok().map(|bytes| &*bytes)
}

/// The frame in these bytes, with or without its zero; decoded in place. `None` for a damaged one.
pub fn decode(bytes: &mut [u8]) -> Option<Frame<'_>> {
    postcard::from_bytes_cobs(bytes).ok()
}
