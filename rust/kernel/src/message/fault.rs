//! Places in a text, and what is wrong with it there.

/// So many arrays and objects may be open at one place, the message itself included.
pub const DEPTH: usize = 64;

/// Bytes from one place to before another.
///
/// One number: two halves that were just written are read together only after a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(u64);

impl Span {
    /// Both below 2^32, as in every text that [`read`](super::read) accepts.
    #[inline]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self((start as u64) << 32 | end as u64 & 0xffff_ffff)
    }

    /// The first byte.
    #[inline]
    pub(super) const fn start(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    const fn end(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// These bytes of `text`.
    #[inline]
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start()..self.end()]
    }

    /// True when there is nothing.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start() == self.end()
    }
}

/// Why a text is not accepted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place of the byte at which it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It ends too early.
    Truncated,
    /// This should stand there.
    Expected(&'static str),
    /// 2^32 bytes or more.
    Long,
    /// After the message something else follows.
    Trailing,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A control character inside a text.
    Control,
    /// A backslash, and after it nothing that JSON knows.
    Escape,
    /// Half of a surrogate pair.
    Surrogate,
    /// An integer beyond 64 bits, or a float beyond double precision.
    Range,
    /// `MessagePack` that JSON does not have, or that is nothing at all.
    NoJson,
    /// More than [`DEPTH`] levels.
    Depth,
    /// A member twice in one object.
    Twice,
    /// A member of the message, or of its context (that is the JSON pointer in front of its name), that is unknown.
    Unknown(&'static str),
    /// A member of the message, named by its JSON pointer, that is missing.
    Missing(&'static str),
    /// A member of the message, named by its JSON pointer, that is not what it should be.
    Invalid(&'static str, &'static str),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "it ends too early",
            Self::Long => "more than 4 GiB",
            Self::Trailing => "something follows the message",
            Self::NotUtf8 => "no UTF-8",
            Self::Control => "a control character inside a text",
            Self::Escape => "an escape that JSON does not know",
            Self::Surrogate => "half of a surrogate pair",
            Self::Range => "a number beyond 64 bits",
            Self::NoJson => "what JSON does not have: binary data, a timestamp, another extension",
            Self::Depth => return write!(f, "more than {DEPTH} levels of arrays and objects"),
            Self::Twice => "the same member a second time",
            Self::Unknown(_) => "unknown",
            Self::Missing(_) => "missing",
            Self::Expected(what) => return write!(f, "there should be {what}"),
            Self::Invalid(_, what) => return write!(f, "should be {what}"),
        })
    }
}

/// `bytes` as text, checked at the speed of memory.
///
/// # Errors
/// At the first byte that is not UTF-8, or at the end when a character is cut off.
pub fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(bytes).or_else(|_| {
        str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            Fault {
                at,
                problem: if error.error_len().is_none() { Problem::Truncated } else { Problem::NotUtf8 },
            }
        })
    })
}
