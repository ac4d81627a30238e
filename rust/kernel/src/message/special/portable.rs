//! For other processors, and to compare with.

pub fn any_kind(bytes: &[u8; 16]) -> u16 {
    kinds(bytes).into_iter().fold(0, |any, kind| any | kind)
}

pub fn kinds(bytes: &[u8; 16]) -> [u16; 3] {
    let is_odd = |byte: u8| byte < 0x20 || !byte.is_ascii();
    [mask(bytes, |byte| byte == b'"'), mask(bytes, |byte| byte == b'\\'), mask(bytes, is_odd)]
}

pub fn controls(bytes: &[u8; 16]) -> u16 {
    mask(bytes, |byte| byte < 0x20)
}

pub fn specials(bytes: &[u8; 16]) -> u16 {
    mask(bytes, |byte| byte < 0x20 || byte == b'"' || byte == b'\\')
}

pub fn escapable(bytes: &[u8; 16]) -> u16 {
    mask(bytes, |byte| br#""\/bfnrt"#.contains(&byte))
}

pub fn structure(bytes: &[u8; 16]) -> [u16; 5] {
    [&b"\""[..], b"\\", b"[{", b"]}", b"n"].map(|kind| mask(bytes, |byte| kind.contains(&byte)))
}

pub fn unfit(bytes: &[u8; 16]) -> u16 {
    mask(bytes, |byte| !matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
}

fn mask(bytes: &[u8; 16], is: impl Fn(u8) -> bool) -> u16 {
    bytes.iter().rev().fold(0, |mask, byte| mask << 1 | u16::from(is(*byte)))
}
