//! An envelope as a text.

use super::Head;
use crate::message::{write_text, write_unsigned};

/// Append an envelope as a text frame, whose `message` is the message as JSON and is put in as it is.
pub fn write_frame(out: &mut Vec<u8>, id: u64, head: &Head<'_>, message: &[u8]) {
    out.extend_from_slice(b"{\"id\":");
    write_unsigned(out, id);
    out.extend_from_slice(b",\"t\":\"msg\",\"subject\":");
    write_text(out, head.subject);
    out.extend_from_slice(b",\"sequence\":");
    write_unsigned(out, head.sequence);
    // The shortest decimal number that is this one.
    out.extend_from_slice(format!(",\"time\":{:?}", head.time).as_bytes());
    if !head.reply.is_empty() {
        out.extend_from_slice(b",\"reply\":");
        write_text(out, head.reply);
    }
    if !head.stream.is_empty() {
        out.extend_from_slice(b",\"stream\":\"");
        out.extend_from_slice(head.stream.as_bytes());
        out.extend_from_slice(b"\",\"attempt\":");
        write_unsigned(out, head.attempt.into());
    }
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(message);
    out.push(b'}');
}

/// At most so many bytes are written for an envelope without its message: as if each byte of a text were escaped.
#[must_use]
pub const fn frame_bound(head: &Head<'_>) -> usize {
    256 + 6 * (head.subject.len() + head.reply.len()) + head.stream.len()
}
