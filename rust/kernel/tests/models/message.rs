//! JSON by its grammar, read recursively and character by character. Shared with the fuzz target `message`.

use std::collections::HashSet;

use tekton_kernel::message::{DEPTH, read, read_text, route};

/// What the grammar makes of a value: nothing but whether it stands there.
struct Reader<'t> {
    rest: &'t [u8],
}

type Found<T = ()> = Option<T>;

impl Reader<'_> {
    fn blank(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn take(&mut self, literal: &str) -> bool {
        self.rest.strip_prefix(literal.as_bytes()).map(|rest| self.rest = rest).is_some()
    }

    fn value(&mut self, levels: usize) -> Found {
        self.blank();
        match self.rest.first()? {
            b'{' | b'[' if levels == 0 => None,
            b'{' => self.object(levels - 1),
            b'[' => self.array(levels - 1),
            b'"' => self.text().map(|_| ()),
            b't' | b'f' | b'n' => {
                (self.take("true") || self.take("false") || self.take("null")).then_some(())
            }
            _ => self.number(),
        }
    }

    fn array(&mut self, levels: usize) -> Found {
        self.rest = &self.rest[1..];
        self.blank();
        if self.take("]") {
            return Some(());
        }
        loop {
            self.value(levels)?;
            self.blank();
            if self.take("]") {
                return Some(());
            }
            self.take(",").then_some(())?;
        }
    }

    fn object(&mut self, levels: usize) -> Found {
        self.rest = &self.rest[1..];
        let mut keys = HashSet::new();
        self.blank();
        if self.take("}") {
            return Some(());
        }
        loop {
            self.blank();
            keys.insert(self.text()?).then_some(())?;
            self.blank();
            self.take(":").then_some(())?;
            self.value(levels)?;
            self.blank();
            if self.take("}") {
                return Some(());
            }
            self.take(",").then_some(())?;
        }
    }

    /// What it says, in UTF-16.
    fn text(&mut self) -> Found<Vec<u16>> {
        self.take("\"").then_some(())?;
        let mut units = Vec::new();
        loop {
            let text = std::str::from_utf8(self.rest).ok()?;
            let character = text.chars().next()?;
            self.rest = &self.rest[character.len_utf8()..];
            match character {
                '"' => break,
                '\\' => units.push(self.escape()?),
                '\0'..='\x1f' => return None,
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        String::from_utf16(&units).ok().map(|_| units)
    }

    fn escape(&mut self) -> Found<u16> {
        let (name, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *name == b'u' {
            let (digits, rest) = self.rest.split_first_chunk::<4>()?;
            self.rest = rest;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
            return u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        }
        let names = br#""\/bfnrt"#.iter().zip(b"\"\\/\x08\x0c\n\r\t");
        names.into_iter().find(|(known, _)| *known == name).map(|(_, byte)| u16::from(*byte))
    }

    fn number(&mut self) -> Found {
        let length = self.rest.iter().take_while(|byte| b"+-.0123456789eE".contains(byte)).count();
        let (number, rest) = self.rest.split_at(length);
        self.rest = rest;
        let number = std::str::from_utf8(number).ok()?;
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
            }
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let sound = digits(whole) && (whole == "0" || !whole.starts_with('0'));
        (sound && fraction.is_none_or(digits) && exponent.is_none_or(digits)).then_some(())?;
        if fraction.is_none() && exponent.is_none() {
            return number
                .parse::<i128>()
                .ok()
                .filter(|n| (i64::MIN.into()..=u64::MAX.into()).contains(n))
                .map(|_| ());
        }
        number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| ())
    }
}

/// Is this one value, with so many levels of arrays and objects at most?
pub fn is_value(text: &[u8], levels: usize) -> bool {
    let mut reader = Reader { rest: text };
    let found = std::str::from_utf8(text).is_ok() && reader.value(levels).is_some();
    reader.blank();
    found && reader.rest.is_empty()
}

const BEFORE: &str = r#"{"message_id":"01a21676-7bdb-7d3e-a691-46080e501c23","message_type":"event","context":{"sender":"a"},"content":"#;

/// Any `text` is a list of values or not, whoever reads it; and if it is accepted as a message, it is an object.
///
/// # Panics
/// When not.
pub fn check(text: &[u8]) {
    let content = [b"[", text, b"]"].concat();
    let message = [BEFORE.as_bytes(), &content, b"}"].concat();
    let found = read(&message);
    if let Ok(text) = std::str::from_utf8(&message) {
        assert_eq!(read_text(text), found);
    }
    match &found {
        Ok(found) => assert_eq!(found.content.of(&message).first(), Some(&b'[')),
        Err(fault) => assert!(fault.at <= message.len()),
    }
    // What closes the list and goes on with other members is no list, but may be a message.
    let whole = found.is_ok_and(|found| found.content.of(&message) == content);
    assert_eq!(whole, is_value(&content, DEPTH - 1), "{:?}", String::from_utf8_lossy(text));
    if read(text).is_ok() {
        assert!(is_value(text, DEPTH));
    }
    // Reads less, and never beyond the end.
    let _ = route(text);
}
