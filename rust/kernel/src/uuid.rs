//! Instance ids as numbers: 36 characters in, a `u128` out.

/// Parse the hyphenated form (`8-4-4-4-12` hexadecimal digits, either case) of a UUID.
///
/// Other spellings (braces, `urn:`, no hyphens) give `None`: the registry has one form for an instance id.
#[must_use]
pub fn parse(text: &str) -> Option<u128> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let hyphens = [text[8], text[13], text[18], text[23]];
    if hyphens != *b"----" {
        return None;
    }
    let parts = [
        word([text[0], text[1], text[2], text[3], text[4], text[5], text[6], text[7]])?,
        word([text[9], text[10], text[11], text[12], text[14], text[15], text[16], text[17]])?,
        word([text[19], text[20], text[21], text[22], text[24], text[25], text[26], text[27]])?,
        word([text[28], text[29], text[30], text[31], text[32], text[33], text[34], text[35]])?,
    ];
    Some(parts.into_iter().fold(0, |value, part| value << 32 | u128::from(part)))
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Eight hexadecimal digits at once, a byte lane each (no loop, no table: this is on the path of every heartbeat).
fn word(digits: [u8; 8]) -> Option<u32> {
    let lanes = u64::from_be_bytes(digits);
    let lower = lanes | (ONES * 0x20);
    // All lanes are below 0x80 or the check of `lanes` fails, so no addition below carries into its neighbour.
    let digit = in_range(lanes, b'0', b'9');
    let letter = in_range(lower, b'a', b'f');
    if lanes & HIGHS != 0 || digit | letter != HIGHS {
        return None;
    }
    // '0'..'9' end in 0..9 and 'a'..'f' in 1..6, to which 9 is added.
    let nibbles = (lanes & (ONES * 0x0f)) + (letter >> 7) * 9;
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    u32::try_from((halves | halves >> 16) & 0xffff_ffff).ok()
}

/// The high bit of each lane that lies in `first..=last`; lanes must be below 0x80.
fn in_range(lanes: u64, first: u8, last: u8) -> u64 {
    let above = lanes.wrapping_add(ONES * u64::from(0x80 - first));
    let beyond = lanes.wrapping_add(ONES * u64::from(0x7f - last));
    above & !beyond & HIGHS
}

/// The digits of a UUID.
pub const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The 32 digits of the value, without hyphens.
#[must_use]
pub fn hexadecimal(value: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (byte, pair) in value.to_be_bytes().into_iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    digits
}

/// The 36 characters of the canonical (lower-case, hyphenated) form.
#[must_use]
pub fn characters(value: u128) -> [u8; 36] {
    let digits = hexadecimal(value);
    let mut characters = [b'-'; 36];
    characters[..8].copy_from_slice(&digits[..8]);
    characters[9..13].copy_from_slice(&digits[8..12]);
    characters[14..18].copy_from_slice(&digits[12..16]);
    characters[19..23].copy_from_slice(&digits[16..20]);
    characters[24..].copy_from_slice(&digits[20..]);
    characters
}

/// The canonical (lower-case, hyphenated) form.
#[must_use]
pub fn format(value: u128) -> String {
    characters(value).map(char::from).iter().collect()
}

/// When a UUID of version 7 was made: milliseconds since 1970. Others do not tell.
#[must_use]
pub fn milliseconds(value: u128) -> Option<u64> {
    (value >> 76 & 15 == 7).then(|| u64::try_from(value >> 80).unwrap_or(0))
}

/// Makes UUIDs of version 7: by time, and in the order in which they were made (RFC 9562, 6.2, method 2).
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The last one without version and variant: 48 bits of time, 74 of chance.
    last: u128,
}

const CHANCE_BITS: u32 = 74;

impl Sequence {
    /// None was made yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// The next id. `chance` gives 64 bits of it: the 74 of a new millisecond are asked of it twice; within one, and
    /// when the clock goes back, 32 of them are the step from the id before.
    pub fn next(&mut self, now_ms: u64, mut chance: impl FnMut() -> u64) -> u128 {
        let now = u128::from(now_ms & 0xffff_ffff_ffff);
        let random = u128::from(chance());
        self.last = if now <= self.last >> CHANCE_BITS {
            self.last + 1 + (random & 0xffff_ffff)
        } else {
            now << CHANCE_BITS | (u128::from(chance()) << 64 | random) & ((1 << CHANCE_BITS) - 1)
        };
        let (high, low) = (self.last >> 62, self.last & ((1 << 62) - 1));
        // Version 7 between time and chance, the variant after twelve bits of chance.
        (high >> 12) << 80 | 7 << 76 | (high & 0xfff) << 64 | 0b10 << 62 | low
    }
}
