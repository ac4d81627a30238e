//! The subject table against a list of pairs, and patterns against their definition.

#[path = "models/subject.rs"]
mod model;

use model::Step;
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::subject::{Invalid, MAX_BYTES, MAX_TOKENS, Pattern, Subject, Table};

const CAPACITY: usize = 1 << 16;

fn text(tokens: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(prop::sample::select(tokens), 1..=most).prop_map(|tokens| tokens.join("."))
}

/// Mostly valid, often the same.
fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text(&["a", "b", "*"], 4),
        4 => text(&["a", "b", "*"], 3).prop_map(|text| text + ".>"),
        1 => text(&["a", "*", ">"], 4),
        1 => text(&["a", "*", "", "a*", ">>", "é", "\u{85}", " "], 4),
    ]
}

fn subject() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => text(&["a", "b", "c"], 4),
        1 => text(&["a", "*", ">", "", "a*", "é", "\u{7f}", "\0"], 3),
        1 => text(&["a"], 20),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let listener = || prop_oneof![4 => 0..4_u64, 1 => Just(u64::MAX)];
    prop_oneof![
        4 => (pattern(), listener()).prop_map(|(pattern, listener)| Step::Add(pattern, listener)),
        2 => (pattern(), listener()).prop_map(|(pattern, listener)| Step::Remove(pattern, listener)),
        6 => subject().prop_map(Step::Match),
        2 => (subject(), pattern(), listener()).prop_map(|(asked, pattern, who)| Step::Race(asked, pattern, who)),
    ]
}

/// All subjects of up to five tokens: `x` stands for whatever no pattern names.
fn all_subjects() -> Vec<String> {
    let mut subjects = vec![String::new()];
    let mut longest = subjects.clone();
    for _ in 0..5 {
        longest =
            longest.iter().flat_map(|text| ["a", "b", "x"].map(|token| format!("{text}.{token}"))).collect();
        subjects.extend_from_slice(&longest);
    }
    subjects.iter().skip(1).map(|text| text[1..].to_owned()).collect()
}

/// What two patterns have to do with one another, by trying all `subjects` that matter.
fn compare(mine: &str, theirs: &str, subjects: &[String]) {
    let (Ok(first), Ok(second)) = (Pattern::parse(mine), Pattern::parse(theirs)) else { return };
    let by = |pattern: &str, subject: &str| model::matches(&model::tokens(pattern), &model::tokens(subject));
    let covered = subjects.iter().all(|subject| by(mine, subject) || !by(theirs, subject));
    let common = subjects.iter().any(|subject| by(mine, subject) && by(theirs, subject));
    assert_eq!(first.covers(second), covered, "does {mine} cover {theirs}?");
    assert_eq!(first.overlaps(second), common, "do {mine} and {theirs} overlap?");
}

proptest! {
    #[test]
    fn table_follows_the_model(capacity in prop_oneof![0..60_usize, Just(CAPACITY)], steps in vec(step(), 0..120)) {
        model::follow(capacity, steps);
    }

    #[test]
    fn any_text_is_judged_by_the_rules(text in "[ab.*> \u{0}\u{85}é\n]{0,12}|(a\\.){13,16}a|\\PC{0,300}") {
        prop_assert_eq!(Pattern::parse(&text).is_ok(), model::is_pattern(&text));
        prop_assert_eq!(Subject::parse(&text).is_ok(), model::is_subject(&text));
        prop_assert_eq!(Pattern::parse(&text).ok().and_then(Pattern::subject), Subject::parse(&text).ok());
    }
}

#[test]
fn what_covers_what_and_what_overlaps_follows_from_the_subjects() {
    let subjects = all_subjects();
    let mut patterns = vec![String::from(">")];
    for tokens in [["a", "b", "*"].as_slice(); 3].iter().scan(vec![String::new()], |texts, tokens| {
        *texts =
            texts.iter().flat_map(|text| tokens.iter().map(move |token| format!("{text}.{token}"))).collect();
        Some(texts.clone())
    }) {
        patterns.extend(tokens.iter().flat_map(|text| [text[1..].to_owned(), format!("{}.>", &text[1..])]));
    }
    for mine in &patterns {
        for theirs in &patterns {
            compare(mine, theirs, &subjects);
        }
    }
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let long = "a".repeat(MAX_BYTES + 1);
    let deep = ["a"; MAX_TOKENS + 1].join(".");
    for (text, cause, words) in [
        (long.as_str(), Invalid::Long, "it is longer than 255 bytes"),
        (&deep, Invalid::Deep, "it has more than 16 tokens"),
        ("", Invalid::EmptyToken, "it has an empty token"),
        ("a..b", Invalid::EmptyToken, "it has an empty token"),
        ("a b", Invalid::Character(' '), "it has the character ' '"),
        ("a\0", Invalid::Character('\0'), "it has the character '\\0'"),
        ("a.*", Invalid::Wildcard, "wildcards are for patterns only"),
        (">.a", Invalid::RestNotLast, "'>' must be the last token"),
        ("a.b*", Invalid::PartOfToken, "a wildcard must be a token of its own"),
    ] {
        assert_eq!(Subject::parse(text), Err(cause));
        assert_eq!(cause.to_string(), words);
    }
}

#[test]
fn the_largest_names_are_valid() {
    assert!(Subject::parse(&"a".repeat(MAX_BYTES)).is_ok());
    assert!(Subject::parse(&["a"; MAX_TOKENS].join(".")).is_ok());
}

/// Patterns for every choice of `a` or `*` at each token, which the subject matches but for its last token.
#[test]
fn patterns_made_to_double_the_work_at_each_token_cost_no_more_than_their_nodes() {
    let mut table: Table<()> = Table::new(CAPACITY);
    for choice in 0..1_u64 << 12 {
        let tokens = (0..12).map(|place| if choice >> place & 1 == 0 { "a." } else { "*." });
        let pattern = tokens.collect::<String>() + "x";
        assert!(table.add(Pattern::parse(&pattern).expect("it is a pattern"), choice));
    }
    let subject = ["a"; 13].join(".");

    let answer = table.collect(Subject::parse(&subject).expect("it is a subject"));

    assert_eq!(answer.listeners, []);
    assert_eq!(answer.visited, (1 << 13) - 1, "each node but the leaves, once");
}

#[test]
fn what_a_match_looks_at_does_not_depend_on_how_many_others_listen() {
    let mut table: Table<()> = Table::new(CAPACITY);
    for number in 0..20_000_u64 {
        let pattern = format!("component.{number}.*.>");
        table.add(Pattern::parse(&pattern).expect("it is a pattern"), number);
    }

    let answer = table.collect(Subject::parse("component.7.log.line").expect("it is a subject"));

    assert_eq!((answer.listeners, answer.visited), (vec![7], 4));
}

fn ask(table: &mut Table<u64>, text: &str, value: u64) -> u64 {
    if let Some(kept) = table.find(text) {
        return *kept;
    }
    let subject = Subject::parse(text).expect("it is a subject");
    let answer = table.collect(subject);
    *table.keep(subject, &answer, value).unwrap_or(&value)
}

fn add(table: &mut Table<u64>, pattern: &str) {
    assert!(table.add(Pattern::parse(pattern).expect("it is a pattern"), 1));
}

#[test]
fn an_inbox_costs_nobody_else_his_answer() {
    let mut table = Table::new(CAPACITY);
    add(&mut table, "inbox.*");
    assert_eq!(ask(&mut table, "inbox.1", 1), 1);
    assert_eq!(ask(&mut table, "inbox.2", 2), 2);

    add(&mut table, "inbox.2");

    assert_eq!(ask(&mut table, "inbox.1", 3), 1);
    assert_eq!(ask(&mut table, "inbox.2", 3), 3);
}

#[test]
fn a_pattern_makes_stale_what_begins_as_it_does() {
    let mut table = Table::new(CAPACITY);
    assert_eq!(ask(&mut table, "a.b", 1), 1);
    assert_eq!(ask(&mut table, "c.d", 1), 1);

    add(&mut table, "a.*");
    assert_eq!(ask(&mut table, "a.b", 2), 2);

    add(&mut table, "*.x");
    assert_eq!(ask(&mut table, "a.b", 3), 3);
    assert_eq!(ask(&mut table, "c.d", 3), 3);
}

#[test]
fn a_pattern_leaves_most_answers_alone_that_begin_otherwise() {
    let mut table = Table::new(CAPACITY);
    let subjects: Vec<String> = (0..256).map(|number| format!("{number}.a")).collect();
    for subject in &subjects {
        ask(&mut table, subject, 1);
    }

    add(&mut table, "inbox.>");

    // First tokens share their generations by hash.
    assert!(subjects.iter().filter(|subject| table.find(subject).is_some()).count() > 128);
}

#[test]
fn of_two_who_asked_at_the_same_time_both_get_the_answer_that_was_kept_first() {
    let mut table: Table<u64> = Table::new(CAPACITY);
    let subject = Subject::parse("a").expect("it is a subject");
    let (first, second) = (table.collect(subject), table.collect(subject));

    assert_eq!(table.keep(subject, &first, 1), Some(&1));
    assert_eq!(table.keep(subject, &second, 2), Some(&1));
}

#[test]
fn subjects_that_are_asked_for_once_do_not_push_out_those_that_are_asked_for_often() {
    let mut table = Table::new(64);
    ask(&mut table, "often", 1);
    for number in 0..10_000 {
        if number % 50 == 0 {
            assert_eq!(ask(&mut table, "often", 2), 1);
        }
        ask(&mut table, &format!("once.{number}"), 2);
    }

    assert!(table.weight() <= 64);
    assert_eq!(table.cached(), 64);
}

#[test]
fn an_answer_that_is_none_any_more_is_not_kept() {
    let mut table: Table<u64> = Table::new(CAPACITY);
    let subject = Subject::parse("a.b").expect("it is a subject");
    for pattern in ["a.b", "a.*", "x"] {
        let answer = table.collect(subject);
        add(&mut table, pattern);
        assert_eq!(table.keep(subject, &answer, 1), None);
    }
    assert_eq!(table.cached(), 0);
}

#[test]
fn an_answer_of_more_than_an_eighth_of_the_cache_is_not_kept() {
    let mut table: Table<u64> = Table::new(80);
    let pattern = Pattern::parse("a").expect("it is a pattern");
    for listener in 0..9 {
        table.add(pattern, listener);
    }
    assert_eq!(ask(&mut table, "a", 1), 1);
    assert_eq!(ask(&mut table, "a", 2), 1);

    table.add(pattern, 9);

    assert_eq!(ask(&mut table, "a", 3), 3);
    assert_eq!(ask(&mut table, "a", 4), 4);
    assert_eq!(table.cached(), 0);
}
