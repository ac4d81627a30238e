//! Names and patterns: what is valid, what covers what.

use std::fmt;

/// The longest subject or pattern. NATS recommends to stay below 256 characters.
pub const MAX_BYTES: usize = 255;
/// The most tokens of a subject or pattern, as NATS recommends.
pub const MAX_TOKENS: usize = 16;

const ONE: &str = "*";
const REST: &str = ">";

/// A valid subject: 1 to [`MAX_TOKENS`] tokens separated by dots, [`MAX_BYTES`] at most, no token empty, no wildcards,
/// no white space and no control characters. Case counts, and texts are compared byte by byte: Unicode is not
/// normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a>(&'a str);

/// A valid pattern: as a [`Subject`], but a token may be `*`, and the last one `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern<'a>(&'a str);

/// Why a text is no subject, or no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// More than [`MAX_BYTES`].
    Long,
    /// More than [`MAX_TOKENS`].
    Deep,
    /// Two dots in a row, a dot at an end, or nothing at all.
    EmptyToken,
    /// White space or a control character.
    Character(char),
    /// A subject with a wildcard.
    Wildcard,
    /// A `>` with something after it.
    RestNotLast,
    /// `*` or `>` as a part of a token. NATS takes it literally, which nobody who writes `a.b*` has meant.
    PartOfToken,
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => write!(out, "it is longer than {MAX_BYTES} bytes"),
            Self::Deep => write!(out, "it has more than {MAX_TOKENS} tokens"),
            Self::EmptyToken => out.write_str("it has an empty token"),
            Self::Character(found) => write!(out, "it has the character {found:?}"),
            Self::Wildcard => out.write_str("wildcards are for patterns only"),
            Self::RestNotLast => out.write_str("'>' must be the last token"),
            Self::PartOfToken => out.write_str("a wildcard must be a token of its own"),
        }
    }
}

impl<'a> Subject<'a> {
    /// Check a text. O(bytes), and those beyond [`MAX_BYTES`] are not looked at.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        if is_plain(text.as_bytes()) {
            return Ok(Self(text));
        }
        Pattern::parse(text)?.subject().ok_or(Invalid::Wildcard)
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The tokens, at least one.
    pub fn tokens(self) -> impl Iterator<Item = &'a str> {
        self.0.split('.')
    }
}

impl<'a> From<Subject<'a>> for Pattern<'a> {
    fn from(subject: Subject<'a>) -> Self {
        Self(subject.0)
    }
}

impl<'a> Pattern<'a> {
    /// Check a text. O(bytes), and those beyond [`MAX_BYTES`] are not looked at.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        if text.len() > MAX_BYTES {
            return Err(Invalid::Long);
        }
        check_characters(text)?;
        let mut tokens = text.as_bytes().split(|byte| *byte == b'.');
        let mut left = MAX_TOKENS;
        while let Some(token) = tokens.next() {
            check_token(token)?;
            left = left.checked_sub(1).ok_or(Invalid::Deep)?;
            if token == REST.as_bytes() && tokens.next().is_some() {
                return Err(Invalid::RestNotLast);
            }
        }
        Ok(Self(text))
    }

    /// The subject, when there are no wildcards in it.
    #[must_use]
    pub fn subject(self) -> Option<Subject<'a>> {
        // In a valid pattern they are tokens of their own.
        (!self.0.bytes().any(is_wildcard)).then_some(Subject(self.0))
    }

    /// The tokens, at least one.
    pub fn tokens(self) -> impl Iterator<Item = &'a str> {
        self.0.split('.')
    }

    /// The steps of a match, at least one.
    pub(super) fn steps(self) -> impl Iterator<Item = Step<'a>> {
        self.tokens().map(Step::of)
    }

    /// Does it match every subject that `other` matches? A permission for this pattern then is one for `other`.
    ///
    /// Exact, were subjects of any length valid: at [`MAX_TOKENS`] a `>` stands for one token, and is not taken for a
    /// `*`.
    #[must_use]
    pub fn covers(self, other: Pattern<'_>) -> bool {
        let mut theirs = other.steps();
        for mine in self.steps() {
            match (mine, theirs.next()) {
                (_, None)
                | (Step::Exactly(_), Some(Step::One))
                | (Step::Exactly(_) | Step::One, Some(Step::Rest)) => {
                    return false;
                }
                (Step::Rest, Some(_)) => return true,
                (Step::Exactly(mine), Some(Step::Exactly(token))) if mine != token => return false,
                (Step::Exactly(_) | Step::One, Some(_)) => {}
            }
        }
        theirs.next().is_none()
    }

    /// Is there a subject that both match? Symmetric.
    #[must_use]
    pub fn overlaps(self, other: Pattern<'_>) -> bool {
        let (mut mine, mut theirs) = (self.steps(), other.steps());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) | (Some(Step::Rest), Some(_)) | (Some(_), Some(Step::Rest)) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(Step::Exactly(mine)), Some(Step::Exactly(token))) if mine != token => return false,
                (Some(_), Some(_)) => {}
            }
        }
    }
}

/// A token of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Exactly(&'a str),
    One,
    Rest,
}

impl<'a> Step<'a> {
    fn of(token: &'a str) -> Self {
        match token {
            ONE => Self::One,
            REST => Self::Rest,
            _ => Self::Exactly(token),
        }
    }
}

/// By byte: visible ASCII, and neither a wildcard nor a dot.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !is_wildcard(byte) && byte != b'.';
        byte += 1;
    }
    plain
};

/// Is it a subject that is seen to be one with a single look at each byte, as most are? Of others nothing is said.
fn is_plain(text: &[u8]) -> bool {
    let (mut tokens, mut in_token) = (0, false);
    for byte in text {
        if PLAIN[usize::from(*byte)] {
            tokens += usize::from(!in_token);
            in_token = true;
        } else if *byte == b'.' && in_token {
            in_token = false;
        } else {
            return false;
        }
    }
    in_token && tokens <= MAX_TOKENS && text.len() <= MAX_BYTES
}

const fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'*' | b'>')
}

fn check_characters(text: &str) -> Result<(), Invalid> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let found = text.chars().find(|found| found.is_whitespace() || found.is_control());
    found.map_or(Ok(()), |found| Err(Invalid::Character(found)))
}

fn check_token(token: &[u8]) -> Result<(), Invalid> {
    match token {
        [] => Err(Invalid::EmptyToken),
        [_, _, ..] if token.iter().copied().any(is_wildcard) => Err(Invalid::PartOfToken),
        _ => Ok(()),
    }
}
