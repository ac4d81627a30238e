//! Messages on their way, many in one block of bytes, or one as the text that a socket takes.
//!
//! ```text
//! batch    = "TKB" version:u8 id:u64 count:u32 envelope*
//! envelope = length:u32 sequence:u64 time:f64 attempt:u32 format:u8
//!            subject_length:u8 reply_length:u8 stream_length:u8 subject reply stream body
//! ```
//!
//! All numbers are little-endian. `length` counts what follows it in the envelope, so that a reader can pass over one;
//! the body is what is left of it. A length of 0 says that there is no reply, or no stream.
//!
//! A [`Batch`] is read without trust: a fault names its place, and nothing is made in advance of what the bytes hold.
//! Of a body nothing is known here but where it is.

#![forbid(unsafe_code)]

mod batch;
mod frame;

use std::fmt;

use crate::message::is_identifier;
use crate::subject::{Invalid, Subject};

pub use batch::{Batch, Found, append, begin};
pub use frame::{frame_bound, write_frame};

/// What a batch begins with; the last byte is the version.
pub const MAGIC: [u8; 4] = *b"TKB\x01";

/// Bytes of a batch without envelopes.
pub const BATCH_HEAD: usize = 16;

/// Bytes of an envelope without texts and body.
pub const HEAD: usize = 28;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// As JSON.
    Json,
    /// As `MessagePack`.
    MessagePack,
}

/// All of an envelope but its body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head<'t> {
    subject: &'t str,
    reply: &'t str,
    stream: &'t str,
    sequence: u64,
    time: f64,
    attempt: u32,
}

impl<'t> Head<'t> {
    /// A head. `reply` and `stream` are empty when there is none.
    ///
    /// # Errors
    /// When `subject` or `reply` is no subject, `stream` no [identifier](is_identifier), or `time` not finite.
    pub fn new(
        subject: &'t str,
        reply: &'t str,
        stream: &'t str,
        sequence: u64,
        time: f64,
        attempt: u32,
    ) -> Result<Self, Problem> {
        Subject::parse(subject).map_err(Problem::Subject)?;
        if !reply.is_empty() {
            Subject::parse(reply).map_err(Problem::Reply)?;
        }
        if !stream.is_empty() && !is_identifier(stream.as_bytes()) {
            return Err(Problem::Stream);
        }
        if !time.is_finite() {
            return Err(Problem::Time);
        }
        Ok(Self { subject, reply, stream, sequence, time, attempt })
    }

    /// Where it was published.
    #[must_use]
    pub const fn subject(&self) -> &'t str {
        self.subject
    }

    /// Where an answer goes; empty when nobody waits for one.
    #[must_use]
    pub const fn reply(&self) -> &'t str {
        self.reply
    }

    /// The stream that it was read from; empty when it was none.
    #[must_use]
    pub const fn stream(&self) -> &'t str {
        self.stream
    }

    /// Its place.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was taken, in seconds since 1970. Finite.
    #[must_use]
    pub const fn time(&self) -> f64 {
        self.time
    }

    /// How often it was handed out.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What an envelope takes in a batch, beside its body.
    #[must_use]
    pub const fn size(&self) -> usize {
        HEAD + self.subject.len() + self.reply.len() + self.stream.len()
    }
}

/// Why bytes are no batch, or an envelope cannot be in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// They begin with something else.
    NoBatch,
    /// They end too early.
    Truncated,
    /// After the last envelope something else follows.
    Trailing,
    /// So many envelopes do not fit into these bytes.
    Count(u32),
    /// An envelope shorter than its own head.
    Short,
    /// A body of 2^32 bytes or more, with its head.
    Long,
    /// A format that is unknown.
    Format(u8),
    /// A subject, a reply or a stream that is not UTF-8.
    NotUtf8,
    /// The subject is none.
    Subject(Invalid),
    /// The reply is no subject.
    Reply(Invalid),
    /// The name of the stream is none.
    Stream,
    /// The time is not finite.
    Time,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBatch => out.write_str("no batch of envelopes, or one of another version"),
            Self::Truncated => out.write_str("it ends too early"),
            Self::Trailing => out.write_str("something follows the last envelope"),
            Self::Count(count) => write!(out, "{count} envelopes do not fit into it"),
            Self::Short => out.write_str("an envelope shorter than its head"),
            Self::Long => out.write_str("an envelope of 4 GiB"),
            Self::Format(format) => write!(out, "a body of the unknown format {format}"),
            Self::NotUtf8 => out.write_str("no UTF-8"),
            Self::Subject(cause) => write!(out, "not a subject: {cause}"),
            Self::Reply(cause) => write!(out, "a reply that is not a subject: {cause}"),
            Self::Stream => out.write_str("not the name of a stream"),
            Self::Time => out.write_str("a time that is not finite"),
        }
    }
}

/// Why bytes are no batch, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place of the byte at which it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}
