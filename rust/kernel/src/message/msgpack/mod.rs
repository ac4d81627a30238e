//! Messages as `MessagePack`, for those who have that: translated from JSON and to it, without a stop in between.
//!
//! Inside, a message is JSON; so whatever was said in `MessagePack` is checked as JSON is (see
//! [the module above](super)), and says the same in both. What JSON does not have is refused: binary data, extensions
//! (timestamps are one), floats that are not finite, keys that are no texts.

#![forbid(unsafe_code)]

mod from_json;
mod to_json;

pub use from_json::from_json;
pub use to_json::{place, to_json};

/// What the first byte of a value says, where that is not part of the value. Sizes follow as big-endian numbers.
mod marker {
    pub const NIL: u8 = 0xc0;
    pub const FALSE: u8 = 0xc2;
    pub const TRUE: u8 = 0xc3;
    pub const FLOAT_32: u8 = 0xca;
    pub const FLOAT_64: u8 = 0xcb;
    pub const UNSIGNED_8: u8 = 0xcc;
    pub const UNSIGNED_16: u8 = 0xcd;
    pub const UNSIGNED_32: u8 = 0xce;
    pub const UNSIGNED_64: u8 = 0xcf;
    pub const SIGNED_8: u8 = 0xd0;
    pub const SIGNED_16: u8 = 0xd1;
    pub const SIGNED_32: u8 = 0xd2;
    pub const SIGNED_64: u8 = 0xd3;
    pub const TEXT_8: u8 = 0xd9;
    pub const TEXT_16: u8 = 0xda;
    pub const TEXT_32: u8 = 0xdb;
    pub const ARRAY_16: u8 = 0xdc;
    pub const ARRAY_32: u8 = 0xdd;
    pub const MAP_16: u8 = 0xde;
    pub const MAP_32: u8 = 0xdf;
    /// Negative numbers from here on are themselves.
    pub const NEGATIVE: u8 = 0xe0;
}
