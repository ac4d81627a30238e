//! Messages as JSON: checked once and taken apart by position, so that nothing is made which nobody reads.
//!
//! ```json
//! {"message_id": "…", "message_type": "request", "timestamp": 1764136800.123,
//!  "context": {"sender": "rhetor", "recipient": "engram", "trace_id": "…"}, "metadata": {…}, "content": …}
//! ```
//!
//! [`read`] checks all of a text and finds the fields of its header, [`route`] stops as soon as it knows the route:
//! [`Header::write`] puts it in front. `metadata` and `content` are places in the text; what is there is somebody
//! else's business.
//!
//! What is accepted is RFC 8259 with the limits that keep two readers of one message from seeing two different ones:
//! no member twice in an object (at any depth), no number that is not a 64-bit integer or a finite float, no lone
//! surrogate, at most [`DEPTH`] levels. Members of the message and of its context are known by name, others are
//! refused; identifiers are visible ASCII without escapes.

mod context;
mod fault;
pub mod msgpack;
mod read;
mod scan;
mod shape;
mod special;
mod write;

pub use context::{Context, NotAnIdentifier};
pub use fault::{DEPTH, Fault, Problem, Span, utf8};
pub use read::{Received, Route, read, read_text, route, seconds};
pub use shape::{Shape, shape};
pub use write::{Header, text_room, write_text, write_unsigned};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Somebody is to answer.
    Request,
    /// The answer.
    Response,
    /// Something has happened.
    Event,
    /// Somebody is to know.
    Notification,
    /// Somebody is to do something; nobody waits.
    Command,
    /// The answer that there is none.
    Error,
}

impl Kind {
    /// All of them, by their number.
    pub const ALL: [Self; 6] =
        [Self::Request, Self::Response, Self::Event, Self::Notification, Self::Command, Self::Error];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Event => "event",
            Self::Notification => "notification",
            Self::Command => "command",
            Self::Error => "error",
        }
    }

    /// The kind that has this name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

/// The most characters of an identifier: of `sender`, `recipient` and `trace_id`.
pub const LONGEST_IDENTIFIER: usize = 255;

/// True for 1 to 255 characters of visible ASCII except `"` and `\`: what is the same with and without JSON around it.
#[must_use]
pub fn is_identifier(text: &[u8]) -> bool {
    (1..=LONGEST_IDENTIFIER).contains(&text.len()) && special::visible(text) == text.len()
}
