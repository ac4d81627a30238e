//! JSON that is checked and skipped, never built. Not recursive: one bit per level says what is open.

mod keys;
mod number;
mod quoted;

use super::fault::{DEPTH, Fault, Problem, Span};
use super::special::visible;
use keys::Key;
pub use number::float;
pub use quoted::unescaped;

pub struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    /// Was it checked, as far as anything but ASCII is in it?
    is_utf8: bool,
    /// The keys of all open objects, outermost first.
    keys: Vec<Key>,
}

impl<'t> Scanner<'t> {
    /// Bytes that are UTF-8, or of which nobody will know if they are.
    pub const fn of_text(text: &'t [u8]) -> Self {
        Self { text, at: 0, is_utf8: true, keys: Vec::new() }
    }

    /// Bytes that have to be UTF-8. All are passed; most have nothing but ASCII, which is known with everything else.
    pub const fn of_bytes(text: &'t [u8]) -> Self {
        Self { text, at: 0, is_utf8: false, keys: Vec::new() }
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    pub const fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }

    /// Something else than `what` stands here, or nothing.
    #[cold]
    fn expected(&self, what: &'static str) -> Fault {
        self.fault(if self.at < self.text.len() { Problem::Expected(what) } else { Problem::Truncated })
    }

    /// Go on after the byte that stands here.
    pub fn pass(&mut self) {
        self.at = self.text.len().min(self.at + 1);
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space.
    #[inline]
    pub fn next_token(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Go on after `byte`, which is the next token.
    #[inline]
    pub fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), Fault> {
        if self.next_token() != Some(byte) {
            return Err(self.expected(name));
        }
        self.at += 1;
        Ok(())
    }

    /// In an object whose last member ended here: true before another one, false after the end.
    #[inline]
    pub fn another(&mut self) -> Result<bool, Fault> {
        match self.next_token() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.expected("',' or '}'")),
        }
    }

    /// In an object that begins here: go inside; false when it is empty, and thereby over.
    #[inline]
    pub fn open(&mut self, name: &'static str) -> Result<bool, Fault> {
        self.expect(b'{', name)?;
        if self.next_token() == Some(b'}') {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// A key and its colon: what is between the quotes, and if that has no escapes.
    #[inline]
    pub fn key(&mut self) -> Result<(Span, bool), Fault> {
        if self.next_token() != Some(b'"') {
            return Err(self.expected("a name in quotes"));
        }
        let start = self.at + 1;
        let plain = self.text()?;
        let span = Span::new(start, self.at - 1);
        self.expect(b':', "':'")?;
        Ok((span, plain))
    }

    /// Skip any value, which stands at `level` (of so many open arrays and objects).
    pub fn skip(&mut self, level: usize) -> Result<Span, Fault> {
        let first = self.next_token();
        let start = self.at;
        if let Some(b'{' | b'[') = first {
            self.tree(level)?;
        } else {
            self.scalar(first)?;
        }
        Ok(Span::new(start, self.at))
    }

    /// Skip an array or object and all that is in it.
    fn tree(&mut self, outside: usize) -> Result<(), Fault> {
        let mut level = outside;
        // By level: is an object open there? And how many keys were there before it?
        let (mut objects, mut before) = (0_u64, [0_u32; DEPTH]);
        loop {
            // A value follows.
            match self.next_token() {
                Some(open @ (b'{' | b'[')) => {
                    if level == DEPTH {
                        return Err(self.fault(Problem::Depth));
                    }
                    self.at += 1;
                    let object = open == b'{';
                    objects = objects & !(1 << level) | u64::from(object) << level;
                    before[level] = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
                    level += 1;
                    if self.next_token() != Some(if object { b'}' } else { b']' }) {
                        if object {
                            self.noted_key()?;
                        }
                        continue;
                    }
                }
                first => {
                    self.scalar(first)?;
                }
            }
            // A value has ended, or an empty array or object is about to.
            loop {
                if level == outside {
                    return Ok(());
                }
                let object = objects >> (level - 1) & 1 == 1;
                match (self.next_token(), object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.noted_key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) => {
                        level -= 1;
                        self.close(before[level] as usize)?;
                    }
                    (Some(b']'), false) => level -= 1,
                    (_, true) => return Err(self.expected("',' or '}'")),
                    (_, false) => return Err(self.expected("',' or ']'")),
                }
                self.at += 1;
            }
        }
    }

    /// Skip a value that is neither array nor object, and begins with `first`.
    #[inline]
    fn scalar(&mut self, first: Option<u8>) -> Result<(), Fault> {
        match first {
            Some(b'"') => self.text().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.expected("a value")),
        }
    }

    pub fn word(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        let found = &self.text[self.at..self.text.len().min(self.at + word.len())];
        if found == word {
            self.at += word.len();
            return Ok(());
        }
        Err(self.fault(if word.starts_with(found) {
            Problem::Truncated
        } else {
            Problem::Expected("a value")
        }))
    }

    /// Go on after `literal`, if that stands here.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a known literal is compared in two steps")]
    pub fn literal(&mut self, literal: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(literal);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    /// Go on after a text of exactly `N` bytes, quotes included, if `read` makes something of it.
    #[inline]
    pub fn exactly<const N: usize, T>(&mut self, read: impl FnOnce(&[u8; N]) -> Option<T>) -> Option<T> {
        let found = read(self.text[self.at..].first_chunk::<N>()?)?;
        self.at += N;
        Some(found)
    }

    /// Go on after a text of 1 to `most` bytes that all are [`visible`], if that stands here.
    #[inline]
    pub fn visible_text(&mut self, most: usize) -> Option<Span> {
        let inside = self.text[self.at..].strip_prefix(b"\"")?;
        let length = visible(inside);
        if inside.get(length) != Some(&b'"') || length == 0 || length > most {
            return None;
        }
        let start = self.at + 1;
        self.at = start + length + 1;
        Some(Span::new(start, start + length))
    }
}
