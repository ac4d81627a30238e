//! Who listens to a subject: names of tokens separated by dots, patterns with wildcards, and a table of them.
//!
//! The language is a subset of that of NATS, so that NATS can carry whatever passes here. In a pattern `*` stands for
//! exactly one token, and `>`, at the end, for one or more.
//!
//! | module | |
//! |---|---|
//! | [`Subject`], [`Pattern`] | what is valid; what covers what, what overlaps |
//! | [`Table`] | patterns with listeners, which are numbers: a trie, and a bounded cache of answers in front of it |
//!
//! What a bus needs of it is one lookup for each message: [`Table::find`] of a subject that was asked for before
//! hashes the text once, and gives the same answer as last time, not an equal one. What a listener is (a subscriber, a
//! queue group that chooses one of several) is the caller's business. It is in an answer once, however many of its
//! patterns match.
//!
//! **Staleness.** Adding and removing must not touch the cached answers: there may be thousands. An answer carries the
//! stamp of what it depends on, and is as good as gone when that stamp has moved on. A pattern without wildcards
//! concerns one subject, whose answer is dropped at once; so the private inbox of each request costs nobody else his
//! answer. Other patterns advance the generation of their first token, or, when that is a wildcard, of all. First
//! tokens share a few hundred generations by hash: that makes an answer stale too often, never too late.
//!
//! **Eviction.** The cache holds a fixed number of subjects and listeners together. A clock hand (Corbató 1968) passes
//! over an answer that was used since it last came by, and takes the next that was not; so subjects that are published
//! once make room before those that are published again and again. The cache of nats-server, 1,024 subjects from
//! which random ones go, thrashes there (its issues 941 and 4341).
//!
//! **Bounds.** A match looks at each node of the trie at most once, and at fewer than `2^(tokens + 1)` of them: so
//! many only where somebody has made as many patterns for the purpose. What it is bad at: an answer too large for the
//! cache is collected anew each time.
#![forbid(unsafe_code)]

mod cache;
mod pattern;
mod table;
mod trie;

pub use pattern::{Invalid, MAX_BYTES, MAX_TOKENS, Pattern, Subject};
pub use table::{Answer, Table};
