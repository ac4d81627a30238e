//! The header of a message, by position.

use super::fault::{Fault, Problem, Span};
use super::scan::{Scanner, float};
use super::{Kind, LONGEST_IDENTIFIER, is_identifier};
use crate::uuid;

/// A message whose whole text was checked: its header, and where the rest is. Spans of what is absent are empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Received {
    /// The id of the message.
    pub id: u128,
    /// Its type.
    pub kind: Kind,
    /// When it was made, if it says so: a [number](seconds) of seconds since 1970.
    pub timestamp: Span,
    /// Who sends it.
    pub sender: Span,
    /// Who is to have it.
    pub recipient: Span,
    /// Which trace it belongs to.
    pub trace_id: Span,
    /// The message that has caused it.
    pub parent: Option<u128>,
    /// The instant after which nobody waits, likewise.
    pub deadline: Span,
    /// How many messages caused one another before it.
    pub hops: u8,
    /// An object.
    pub metadata: Span,
    /// Any value.
    pub content: Span,
}

/// What a router asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The type of the message.
    pub kind: Kind,
    /// Who sends it.
    pub sender: Span,
    /// Who is to have it; empty when nobody is named.
    pub recipient: Span,
}

/// Check a message and take it apart. O(bytes); it makes nothing but a list of the keys of open objects.
///
/// # Errors
/// At the first thing that is wrong (see [the module](super)); what is missing is noticed at the end, and bytes that are
/// not UTF-8 with the first of a text that are not ASCII.
pub fn read(bytes: &[u8]) -> Result<Received, Fault> {
    read_with(Scanner::of_bytes(bytes), bytes)
}

/// As [`read`], of what is UTF-8.
///
/// # Errors
/// Likewise.
pub fn read_text(text: &str) -> Result<Received, Fault> {
    read_with(Scanner::of_text(text.as_bytes()), text.as_bytes())
}

fn read_with(scanner: Scanner<'_>, text: &[u8]) -> Result<Received, Fault> {
    if u32::try_from(text.len()).is_err() {
        return Err(Fault { at: 0, problem: Problem::Long });
    }
    let mut reader = Reader::new(scanner, text);
    reader.message(false)?;
    if reader.scanner.next_token().is_some() {
        return Err(reader.scanner.fault(Problem::Trailing));
    }
    reader.finish()
}

/// The number that is in `span` of the text of a message; `None` when nothing is.
#[must_use]
pub fn seconds(text: &[u8], span: Span) -> Option<f64> {
    if span.is_empty() { None } else { float(span.of(text)) }
}

/// The route of a message that was checked before, or will be: reads as far as it has to, and checks only that.
///
/// O(header) when the header comes first, as [`Header::write`](super::Header::write) puts it; else O(bytes).
///
/// # Errors
/// At the first thing that is wrong before the route is known.
pub fn route(text: &[u8]) -> Result<Route, Fault> {
    // Spans of a longer text would not fit.
    let text = &text[..text.len().min(u32::MAX as usize)];
    let mut reader = Reader::new(Scanner::of_text(text), text);
    reader.message(true)?;
    let Reader { kind, sender, recipient, .. } = reader;
    Ok(Route { kind: kind.ok_or(reader.missing("/message_type"))?, sender, recipient })
}

const ID: u8 = 1;
const TYPE: u8 = 2;
const TIMESTAMP: u8 = 4;
const CONTEXT: u8 = 8;
const METADATA: u8 = 16;
const CONTENT: u8 = 32;

const SENDER: u8 = 1;
const RECIPIENT: u8 = 2;
const TRACE: u8 = 4;
const PARENT: u8 = 8;
const DEADLINE: u8 = 16;
const HOPS: u8 = 32;

struct Reader<'t> {
    text: &'t [u8],
    scanner: Scanner<'t>,
    seen: u8,
    id: Option<u128>,
    kind: Option<Kind>,
    timestamp: Span,
    sender: Span,
    recipient: Span,
    trace_id: Span,
    parent: Option<u128>,
    deadline: Span,
    hops: u8,
    metadata: Span,
    content: Span,
}

impl<'t> Reader<'t> {
    fn new(scanner: Scanner<'t>, text: &'t [u8]) -> Self {
        Self {
            text,
            scanner,
            seen: 0,
            id: None,
            kind: None,
            timestamp: Span::default(),
            sender: Span::default(),
            recipient: Span::default(),
            trace_id: Span::default(),
            parent: None,
            deadline: Span::default(),
            hops: 0,
            metadata: Span::default(),
            content: Span::default(),
        }
    }

    #[cold]
    fn missing(&self, pointer: &'static str) -> Fault {
        self.scanner.fault(Problem::Missing(pointer))
    }

    fn finish(self) -> Result<Received, Fault> {
        if self.seen & CONTENT == 0 {
            return Err(self.missing("/content"));
        }
        Ok(Received {
            id: self.id.ok_or_else(|| self.missing("/message_id"))?,
            kind: self.kind.ok_or_else(|| self.missing("/message_type"))?,
            timestamp: self.timestamp,
            sender: if self.sender.is_empty() { Err(self.missing("/context"))? } else { self.sender },
            recipient: self.recipient,
            trace_id: self.trace_id,
            parent: self.parent,
            deadline: self.deadline,
            hops: self.hops,
            metadata: self.metadata,
            content: self.content,
        })
    }

    /// The whole message; with `only_route` no further than that.
    fn message(&mut self, only_route: bool) -> Result<(), Fault> {
        let mut next = ID;
        let mut more = self.scanner.open("a message: '{'")?;
        while more {
            let at = self.scanner.at();
            let field = match self.known_member(next) {
                Some(field) => field,
                None => match self.scanner.key()?.0.of(self.text) {
                    b"message_id" => ID,
                    b"message_type" => TYPE,
                    b"timestamp" => TIMESTAMP,
                    b"context" => CONTEXT,
                    b"metadata" => METADATA,
                    b"content" => CONTENT,
                    _ => return Err(Fault { at, problem: Problem::Unknown("/") }),
                },
            };
            next = field << 1;
            if self.seen & field != 0 {
                return Err(Fault { at, problem: Problem::Twice });
            }
            self.seen |= field;
            match field {
                ID => self.id = Some(self.uuid("/message_id")?),
                TYPE => self.kind = Some(self.kind("/message_type")?),
                TIMESTAMP => self.timestamp = self.number("/timestamp")?,
                CONTEXT => self.context()?,
                METADATA => self.metadata = self.object("/metadata")?,
                _ => self.content = self.scanner.skip(1)?,
            }
            if only_route && self.seen & (TYPE | CONTEXT) == TYPE | CONTEXT {
                return Ok(());
            }
            more = self.scanner.another()?;
        }
        if only_route && self.seen & CONTEXT == 0 {
            return Err(self.missing("/context"));
        }
        Ok(())
    }

    /// The member that begins here, if it is one of those from `next` on, in the order and form in which
    /// [`Header::write`](super::Header::write) has them: most messages have all of theirs so.
    #[inline]
    fn known_member(&mut self, next: u8) -> Option<u8> {
        let scanner = &mut self.scanner;
        let mut is = |field, literal: &[u8]| field >= next && scanner.literal(literal);
        match () {
            () if is(ID, b"\"message_id\":") => Some(ID),
            () if is(TYPE, b"\"message_type\":") => Some(TYPE),
            () if is(TIMESTAMP, b"\"timestamp\":") => Some(TIMESTAMP),
            () if is(CONTEXT, b"\"context\":") => Some(CONTEXT),
            () if is(METADATA, b"\"metadata\":") => Some(METADATA),
            () if is(CONTENT, b"\"content\":") => Some(CONTENT),
            () => None,
        }
    }

    /// Likewise within the context.
    #[inline]
    fn known_context_member(&mut self, next: u8) -> Option<u8> {
        let scanner = &mut self.scanner;
        let mut is = |field, literal: &[u8]| field >= next && scanner.literal(literal);
        match () {
            () if is(SENDER, b"\"sender\":") => Some(SENDER),
            () if is(RECIPIENT, b"\"recipient\":") => Some(RECIPIENT),
            () if is(TRACE, b"\"trace_id\":") => Some(TRACE),
            () if is(PARENT, b"\"parent_id\":") => Some(PARENT),
            () if is(DEADLINE, b"\"deadline\":") => Some(DEADLINE),
            () if is(HOPS, b"\"hops\":") => Some(HOPS),
            () => None,
        }
    }

    fn context(&mut self) -> Result<(), Fault> {
        let (mut seen, mut next) = (0, SENDER);
        let mut more = match self.scanner.next_token() {
            Some(b'{') => self.scanner.open("")?,
            _ => return Err(self.invalid("/context", "an object")),
        };
        while more {
            let at = self.scanner.at();
            let field = match self.known_context_member(next) {
                Some(field) => field,
                None => match self.scanner.key()?.0.of(self.text) {
                    b"sender" => SENDER,
                    b"recipient" => RECIPIENT,
                    b"trace_id" => TRACE,
                    b"parent_id" => PARENT,
                    b"deadline" => DEADLINE,
                    b"hops" => HOPS,
                    _ => return Err(Fault { at, problem: Problem::Unknown("/context/") }),
                },
            };
            next = field << 1;
            if seen & field != 0 {
                return Err(Fault { at, problem: Problem::Twice });
            }
            seen |= field;
            match field {
                SENDER => self.sender = self.identifier("/context/sender")?,
                DEADLINE => self.deadline = self.number("/context/deadline")?,
                HOPS => self.hops = self.hops("/context/hops")?,
                _ if self.is_null()? => {}
                RECIPIENT => self.recipient = self.identifier("/context/recipient")?,
                TRACE => self.trace_id = self.identifier("/context/trace_id")?,
                _ => self.parent = Some(self.uuid("/context/parent_id")?),
            }
            more = self.scanner.another()?;
        }
        if seen & SENDER == 0 { Err(self.missing("/context/sender")) } else { Ok(()) }
    }

    /// The member `pointer` begins here, and is not `what` it should be (if it is anything at all).
    #[cold]
    fn invalid(&mut self, pointer: &'static str, what: &'static str) -> Fault {
        let at = self.scanner.at();
        match self.scanner.skip(1) {
            Ok(_) => Fault { at, problem: Problem::Invalid(pointer, what) },
            Err(fault) => fault,
        }
    }

    fn is_null(&mut self) -> Result<bool, Fault> {
        let null = self.scanner.next_token() == Some(b'n');
        if null {
            self.scanner.word(b"null")?;
        }
        Ok(null)
    }

    /// A text without escapes: what is between the quotes.
    #[inline]
    fn plain(&mut self) -> Result<Option<Span>, Fault> {
        if self.scanner.next_token() != Some(b'"') {
            return Ok(None);
        }
        let start = self.scanner.at() + 1;
        let plain = self.scanner.text()?;
        Ok(plain.then(|| Span::new(start, self.scanner.at() - 1)))
    }

    /// A text without escapes that `read` knows what to do with.
    #[inline]
    fn known<T>(
        &mut self,
        pointer: &'static str,
        what: &'static str,
        read: impl FnOnce(Span, &[u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        let is_text = self.scanner.next_token() == Some(b'"');
        let start = self.scanner.at();
        match self.plain()?.and_then(|span| read(span, span.of(self.text))) {
            Some(found) => Ok(found),
            None if is_text => Err(Fault { at: start, problem: Problem::Invalid(pointer, what) }),
            None => Err(self.invalid(pointer, what)),
        }
    }

    fn identifier(&mut self, pointer: &'static str) -> Result<Span, Fault> {
        self.scanner.next_token();
        if let Some(span) = self.scanner.visible_text(LONGEST_IDENTIFIER) {
            return Ok(span);
        }
        let what = "1 to 255 characters of visible ASCII";
        self.known(pointer, what, |span, text| is_identifier(text).then_some(span))
    }

    fn uuid(&mut self, pointer: &'static str) -> Result<u128, Fault> {
        self.scanner.next_token();
        let quoted = |text: &[u8; 38]| match text {
            [b'"', id @ .., b'"'] => str::from_utf8(id).ok().and_then(uuid::parse),
            _ => None,
        };
        if let Some(id) = self.scanner.exactly(quoted) {
            return Ok(id);
        }
        self.known(pointer, "a UUID", |_, text| str::from_utf8(text).ok().and_then(uuid::parse))
    }

    fn kind(&mut self, pointer: &'static str) -> Result<Kind, Fault> {
        let what = "request, response, event, notification, command or error";
        self.known(pointer, what, |_, text| Kind::from_name(text))
    }

    fn number(&mut self, pointer: &'static str) -> Result<Span, Fault> {
        if self.is_null()? {
            return Ok(Span::default());
        }
        let start = self.scanner.at();
        if !matches!(self.scanner.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.invalid(pointer, "a number of seconds"));
        }
        self.scanner.number()?;
        Ok(Span::new(start, self.scanner.at()))
    }

    fn hops(&mut self, pointer: &'static str) -> Result<u8, Fault> {
        if self.is_null()? {
            return Ok(0);
        }
        let start = self.scanner.at();
        let span = self.scanner.skip(2)?;
        let digits = str::from_utf8(span.of(self.text)).ok();
        let problem = Problem::Invalid(pointer, "a number from 0 to 255");
        digits.and_then(|digits| digits.parse().ok()).ok_or(Fault { at: start, problem })
    }

    fn object(&mut self, pointer: &'static str) -> Result<Span, Fault> {
        match self.scanner.next_token() {
            Some(b'{') => self.scanner.skip(1),
            Some(b'n') => self.is_null().map(|_| Span::default()),
            _ => Err(self.invalid(pointer, "an object")),
        }
    }
}
