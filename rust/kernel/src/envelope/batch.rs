//! Many envelopes in one block of bytes.

use super::{Fault, Format, HEAD, Head, MAGIC, Problem};

/// Begin a batch of `count` envelopes, which [`append`] has to add.
pub fn begin(out: &mut Vec<u8>, id: u64, count: u32) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
}

/// Append an envelope to a batch.
///
/// # Errors
/// [`Problem::Long`].
pub fn append(out: &mut Vec<u8>, head: &Head<'_>, format: Format, body: &[u8]) -> Result<(), Problem> {
    let length = u32::try_from(head.size() - 4 + body.len()).map_err(|_| Problem::Long)?;
    // A valid subject has at most 255 bytes, and so has an identifier.
    let short = |text: &str| u8::try_from(text.len()).unwrap_or(0);
    let mut fixed = [0; HEAD];
    fixed[..4].copy_from_slice(&length.to_le_bytes());
    fixed[4..12].copy_from_slice(&head.sequence.to_le_bytes());
    fixed[12..20].copy_from_slice(&head.time.to_le_bytes());
    fixed[20..24].copy_from_slice(&head.attempt.to_le_bytes());
    fixed[24..].copy_from_slice(&[format as u8, short(head.subject), short(head.reply), short(head.stream)]);
    out.extend_from_slice(&fixed);
    out.extend_from_slice(head.subject.as_bytes());
    out.extend_from_slice(head.reply.as_bytes());
    out.extend_from_slice(head.stream.as_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// An envelope of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'d> {
    /// All but the body.
    pub head: Head<'d>,
    /// How the body is written.
    pub format: Format,
    /// The message, unread.
    pub body: &'d [u8],
    /// The place of its first byte in the batch.
    pub at: usize,
}

/// The envelopes of a batch, one after another, until the first fault.
#[derive(Clone, Debug)]
pub struct Batch<'d> {
    reader: Reader<'d>,
    id: u64,
    left: u32,
    over: bool,
}

impl<'d> Batch<'d> {
    /// Look at the head of a batch.
    ///
    /// # Errors
    /// When it is none, or announces more than the bytes can hold.
    pub fn open(data: &'d [u8]) -> Result<Self, Fault> {
        let mut reader = Reader { data, at: 0 };
        let begins = data.len().min(MAGIC.len());
        if data[..begins] != MAGIC[..begins] {
            return Err(reader.fault(Problem::NoBatch));
        }
        let _: [u8; MAGIC.len()] = reader.array()?;
        let id = u64::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?);
        if count as usize > reader.left() / HEAD {
            return Err(reader.fault(Problem::Count(count)));
        }
        Ok(Self { reader, id, left: count, over: false })
    }

    /// What it is called by those who send it.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// How many envelopes are still to come; the bytes have room for as many heads.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.left as usize
    }

    /// True when none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn envelope(&mut self) -> Result<Found<'d>, Fault> {
        let start = self.reader.at;
        let length = u32::from_le_bytes(self.reader.array()?) as usize;
        let mut inside = Reader { data: self.reader.data, at: self.reader.at };
        self.reader.take(length)?;
        inside.data = &inside.data[..self.reader.at];
        found(&mut inside).map_err(|fault| match fault.problem {
            Problem::Truncated => Fault { at: start, problem: Problem::Short },
            _ => fault,
        })
    }
}

impl<'d> Iterator for Batch<'d> {
    type Item = Result<Found<'d>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        if self.left == 0 {
            self.over = true;
            return (self.reader.left() > 0).then(|| Err(self.reader.fault(Problem::Trailing)));
        }
        self.left -= 1;
        let found = self.envelope();
        self.over = found.is_err();
        Some(found)
    }
}

/// The envelope that all of `reader` is.
fn found<'d>(reader: &mut Reader<'d>) -> Result<Found<'d>, Fault> {
    let sequence = u64::from_le_bytes(reader.array()?);
    let time = f64::from_le_bytes(reader.array()?);
    let attempt = u32::from_le_bytes(reader.array()?);
    let format_at = reader.at;
    let [format, subject, reply, stream] = reader.array()?;
    let format = match format {
        0 => Format::Json,
        1 => Format::MessagePack,
        other => return Err(Fault { at: format_at, problem: Problem::Format(other) }),
    };
    let start = reader.at;
    let (subject, reply, stream) = (reader.text(subject)?, reader.text(reply)?, reader.text(stream)?);
    let head = Head::new(subject, reply, stream, sequence, time, attempt).map_err(|problem| {
        let after = match problem {
            Problem::Reply(_) => subject.len(),
            Problem::Stream => subject.len() + reply.len(),
            _ => 0,
        };
        Fault { at: start + after, problem }
    })?;
    Ok(Found { head, format, at: reader.at, body: &reader.data[reader.at..] })
}

#[derive(Clone, Debug)]
struct Reader<'d> {
    data: &'d [u8],
    at: usize,
}

impl<'d> Reader<'d> {
    const fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }

    const fn left(&self) -> usize {
        self.data.len() - self.at
    }

    fn take(&mut self, length: usize) -> Result<&'d [u8], Fault> {
        let taken = self.data[self.at..].get(..length);
        let taken = taken.ok_or(Fault { at: self.data.len(), problem: Problem::Truncated })?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let fault = Fault { at: self.data.len(), problem: Problem::Truncated };
        let array = *self.data[self.at..].first_chunk().ok_or(fault)?;
        self.at += N;
        Ok(array)
    }

    fn text(&mut self, length: u8) -> Result<&'d str, Fault> {
        let start = self.at;
        let problem = Problem::NotUtf8;
        let text = str::from_utf8(self.take(length.into())?);
        text.map_err(|error| Fault { at: start + error.valid_up_to(), problem })
    }
}
