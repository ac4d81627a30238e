//! Numbers: integers of 64 bits, and finite floats.

use super::Scanner;
use crate::message::fault::{Fault, Problem};

impl Scanner<'_> {
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

/// The number that these characters are.
pub fn float(characters: &[u8]) -> Option<f64> {
    str::from_utf8(characters).ok()?.parse().ok()
}
