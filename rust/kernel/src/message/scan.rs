//! JSON that is checked and skipped, never built. Not recursive: one bit per level says what is open.

#[cfg(target_arch = "x86_64")]
use super::special::avx2;
use super::special::{Masks, escaped, near, short_escapes, with_block};

/// So many arrays and objects may be open at one place, the message itself included.
pub const DEPTH: usize = 64;

/// Objects with more members than this are searched for twins by sorting.
const FEW: usize = 16;

/// Bytes from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Both below 2^32, as in every text that [`read`](super::read) accepts.
    pub(super) fn new(start: usize, end: usize) -> Self {
        let place = |place| u32::try_from(place).unwrap_or(0);
        Self { start: place(start), end: place(end) }
    }

    /// The first byte.
    const fn start(self) -> usize {
        self.start as usize
    }

    /// These bytes of `text`.
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// True when there is nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
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
            Self::Depth => return write!(f, "more than {DEPTH} levels of arrays and objects"),
            Self::Twice => "the same member a second time",
            Self::Unknown(_) => "unknown",
            Self::Missing(_) => "missing",
            Self::Expected(what) => return write!(f, "there should be {what}"),
            Self::Invalid(_, what) => return write!(f, "should be {what}"),
        })
    }
}

/// A key of an object that is open.
#[derive(Clone, Copy)]
struct Key {
    print: u64,
    span: Span,
}

pub struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    /// The keys of all open objects, outermost first.
    keys: Vec<Key>,
}

impl<'t> Scanner<'t> {
    pub const fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0, keys: Vec::new() }
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

    fn noted_key(&mut self) -> Result<(), Fault> {
        let (span, plain) = self.key()?;
        let bytes = span.of(self.text);
        let print = if plain { fingerprint(bytes) } else { fingerprint(&unescaped(bytes)) };
        self.keys.push(Key { print, span });
        Ok(())
    }

    /// The innermost object ends: no two of its keys may be equal.
    fn close(&mut self, before: usize) -> Result<(), Fault> {
        let text = self.text;
        let keys = &mut self.keys[before..];
        let twin = if keys.len() <= FEW {
            let same = |key: &Key, other: &Key| key.print == other.print && equal(text, *key, *other);
            (1..keys.len()).find(|last| keys[..*last].iter().any(|key| same(key, &keys[*last])))
        } else {
            // By the text where fingerprints are equal: who makes them collide on purpose gains nothing.
            keys.sort_unstable_by(|one, two| {
                one.print.cmp(&two.print).then_with(|| compare(text, *one, *two))
            });
            (1..keys.len()).find(|last| {
                keys[last - 1].print == keys[*last].print && equal(text, keys[last - 1], keys[*last])
            })
        };
        if let Some(twin) = twin {
            return Err(Fault { at: keys[twin].span.start() - 1, problem: Problem::Twice });
        }
        self.keys.truncate(before);
        Ok(())
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

    /// Skip a text, quotes included; true when it has no escapes.
    #[inline]
    pub fn text(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        match near(self.text, self.at) {
            Some(place) if self.text[place] == b'"' => {
                self.at = place + 1;
                Ok(true)
            }
            _ => self.long_text(),
        }
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

    /// Go on after a text of at most `most` bytes that all are `plain`, if that stands here.
    #[inline]
    pub fn short_text(&mut self, most: usize, plain: impl Fn(u8) -> bool) -> Option<Span> {
        let inside = self.text[self.at..].strip_prefix(b"\"")?;
        let length = inside.iter().position(|byte| !plain(*byte))?;
        if inside[length] != b'"' || length == 0 || length > most {
            return None;
        }
        let start = self.at + 1;
        self.at = start + length + 1;
        Some(Span::new(start, start + length))
    }

    /// As `text`, after the quote.
    #[inline(never)]
    fn long_text(&mut self) -> Result<bool, Fault> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[allow(unsafe_code, reason = "needs a processor that not all have")]
            // SAFETY: this one has AVX2.
            return unsafe { self.long_text_avx2() };
        }
        self.long_text_with(Masks::of, short_escapes)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn long_text_avx2(&mut self) -> Result<bool, Fault> {
        self.long_text_with(|block| avx2::masks(block), |block| avx2::short_escapes(block))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "into a function made for other processors")]
    fn long_text_with(
        &mut self,
        look: impl Fn(&[u8; 64]) -> Masks,
        short_escapes: impl Fn(&[u8; 64]) -> u64,
    ) -> Result<bool, Fault> {
        let (mut plain, mut carry) = (true, false);
        // Where the second half of a surrogate pair is.
        let mut low_half = 0;
        loop {
            let start = self.at;
            let (masks, length) = with_block(self.text, start, |block, length| (look(block), length));
            let escaped =
                if masks.backslash == 0 && !carry { 0 } else { escaped(masks.backslash, &mut carry) };
            let ends = masks.quote & !escaped;
            let inside = if ends == 0 { u64::MAX } else { (1 << ends.trailing_zeros()) - 1 };
            if masks.control & inside != 0 {
                self.at = start + masks.control.trailing_zeros() as usize;
                return Err(self.fault(Problem::Control));
            }
            if masks.backslash & inside != 0 || escaped & 1 != 0 {
                plain = false;
                let short = with_block(self.text, start, |block, _| short_escapes(block));
                // Those beyond the end of the text are seen by nobody: it is truncated.
                let seconds = escaped & inside & within(length);
                if seconds & short != seconds {
                    low_half = self.long_escapes(start, seconds ^ seconds & short, low_half)?;
                }
            }
            if ends != 0 {
                self.at = start + ends.trailing_zeros() as usize + 1;
                return Ok(plain);
            }
            self.at = start + length;
            if self.at >= self.text.len() {
                return Err(self.fault(Problem::Truncated));
            }
        }
    }

    /// Check the escapes whose second bytes are these of the block at `start`; where the second half of a pair of
    /// surrogates follows is known from the block before, and for the block after.
    #[cold]
    fn long_escapes(&mut self, start: usize, mut seconds: u64, mut low_half: usize) -> Result<usize, Fault> {
        while seconds != 0 {
            self.at = start + seconds.trailing_zeros() as usize - 1;
            seconds &= seconds - 1;
            if self.at != low_half || low_half == 0 {
                low_half = self.long_escape()?;
            }
        }
        Ok(low_half)
    }

    /// Here a backslash begins an escape that is not of two characters. The place of the second half, if it is a pair
    /// of surrogates; otherwise 0.
    fn long_escape(&self) -> Result<usize, Fault> {
        if self.text.get(self.at + 1) != Some(&b'u') {
            return Err(self.fault(Problem::Escape));
        }
        match self.unit(self.at)? {
            0xd800..=0xdbff => match (self.text.get(self.at + 6), self.text.get(self.at + 7)) {
                (Some(b'\\'), Some(b'u')) if matches!(self.unit(self.at + 6)?, 0xdc00..=0xdfff) => {
                    Ok(self.at + 6)
                }
                _ => Err(self.fault(Problem::Surrogate)),
            },
            0xdc00..=0xdfff => Err(self.fault(Problem::Surrogate)),
            _ => Ok(0),
        }
    }

    /// The UTF-16 unit of the escape `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.text.get(at + 2..at + 6);
        let digits = digits.ok_or(Fault { at: self.text.len(), problem: Problem::Truncated })?;
        hexadecimal(digits).ok_or(Fault { at, problem: Problem::Escape })
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    /// Skip a number.
    pub fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let (zero, digits) = (self.peek() == Some(b'0'), self.digits());
        if digits == 0 {
            return Err(self.expected("a digit"));
        }
        if zero && digits > 1 {
            return Err(Fault {
                at: self.at - digits + 1,
                problem: Problem::Expected("no digit after a leading 0"),
            });
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        // What has few digits and no exponent fits without a look.
        let fits = match (whole, exponent || digits > 300) {
            (true, _) => digits < 19 || self.is_whole(start),
            (false, true) => self.is_finite(start),
            (false, false) => true,
        };
        if fits { Ok(()) } else { Err(Fault { at: start, problem: Problem::Range }) }
    }

    #[cold]
    fn is_whole(&self, start: usize) -> bool {
        let digits = str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        digits.parse::<u64>().is_ok() || digits.parse::<i64>().is_ok()
    }

    fn is_finite(&self, start: usize) -> bool {
        float(&self.text[start..self.at]).is_some_and(f64::is_finite)
    }
}

/// The first `length` bits.
const fn within(length: usize) -> u64 {
    if length < 64 { (1 << length) - 1 } else { u64::MAX }
}

/// The number that these characters are.
pub fn float(characters: &[u8]) -> Option<f64> {
    str::from_utf8(characters).ok()?.parse().ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Different for most keys that differ.
#[inline]
fn fingerprint(key: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, last) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
            }
            _ => (key.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), 0),
        },
    };
    (first ^ last.rotate_left(29) ^ key.len() as u64).wrapping_mul(ODD)
}

/// The key is escaped where a backslash is in it.
fn plain_key(text: &[u8], key: Key) -> std::borrow::Cow<'_, [u8]> {
    let bytes = key.span.of(text);
    if bytes.contains(&b'\\') { unescaped(bytes).into() } else { bytes.into() }
}

fn equal(text: &[u8], one: Key, two: Key) -> bool {
    one.span.of(text) == two.span.of(text) || plain_key(text, one) == plain_key(text, two)
}

fn compare(text: &[u8], one: Key, two: Key) -> std::cmp::Ordering {
    plain_key(text, one).cmp(&plain_key(text, two))
}

/// What a text that was checked says.
fn unescaped(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let Some((name, after)) = rest.split_first() else { break };
        rest = after;
        match name {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => rest = unescaped_unit(rest, &mut plain),
            other => plain.push(*other),
        }
    }
    plain
}

/// `rest` begins with four digits, or with a pair of them and `\u` in between; return what is after those.
fn unescaped_unit<'t>(rest: &'t [u8], plain: &mut Vec<u8>) -> &'t [u8] {
    let unit = |digits: Option<&[u8]>| digits.and_then(hexadecimal).unwrap_or_default();
    let high = unit(rest.get(..4));
    let (code, length) = match high {
        0xd800..=0xdbff => (0x1_0000 + ((high & 0x3ff) << 10 | unit(rest.get(6..10)) & 0x3ff), 10),
        _ => (high, 4),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest.get(length..).unwrap_or_default()
}
