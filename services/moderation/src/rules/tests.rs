use std::time::Duration;

use agora_proto::event::v1::{Decision, Rule};
use proptest::prelude::*;

use super::*;

fn empty() -> Policy {
    Policy {
        mode: Mode::ApproveUnlessHeld,
        banned_words: Vec::new(),
        suspect_words: Vec::new(),
        suspect_patterns: Vec::new(),
        max_links: None,
        listed_domains: Vec::new(),
        repeated_text: None,
        max_length: None,
        hold_first_comments: 0,
        trusted_author_ids: Vec::new(),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn judge(policy: Policy, text: &str) -> Judgement {
    Compiled::new(policy).unwrap().judge(text, Facts { author_id: "ada", ..Facts::default() })
}

fn rules(judgement: &Judgement) -> Vec<Rule> {
    judgement.hits.iter().map(|hit| hit.rule).collect()
}

#[test]
fn words_match_regardless_of_case_and_form_and_only_as_a_whole() {
    let matches = [
        ("spam", "this is SPAM!", true),
        ("spam", "ｓｐａｍ in full width", true),
        ("spam", "s\u{200b}p\u{ad}am with what nobody sees", true),
        ("spam", "spamalot is a musical", false),
        ("spam", "antispam", false),
        ("spam", "spam_filter", false),
        ("cunt", "Scunthorpe", false),
        ("straße", "die STRASSE", true),
        ("STRASSE", "die straße", true),
        ("istanbul", "İstanbul is another word", false),
        ("kadin", "kadın", true),
        ("café", "cafe\u{301}", true),
        ("cafe", "cafe\u{301}", false),
        ("make money", "MAKE MONEY fast", true),
        ("$$$", "only5$$$now", true),
        ("фиды", "ФИДЫ тут", true),
    ];
    for (word, text, expected) in matches {
        let judged = judge(Policy { banned_words: words(&[word]), ..empty() }, text);
        assert_eq!(judged.decision == Decision::Rejected, expected, "{word} in {text}");
    }
}

#[test]
fn every_rule_is_recorded_and_the_strictest_decides() {
    let policy = Policy {
        banned_words: words(&["casino"]),
        suspect_words: words(&["free"]),
        suspect_patterns: words(&["bo+nus"]),
        max_links: Some(0),
        listed_domains: words(&["Example.com"]),
        max_length: Some(10),
        mode: Mode::HoldAll,
        ..empty()
    };
    let judged = judge(policy, "FREE casino boooonus at http://shop.example.com/x");
    assert_eq!(judged.decision, Decision::Rejected);
    assert_eq!(
        rules(&judged),
        [
            Rule::BannedWord,
            Rule::SuspectWord,
            Rule::SuspectPattern,
            Rule::Links,
            Rule::ListedDomain,
            Rule::Length,
            Rule::HoldAll
        ]
    );
}

#[test]
fn links_are_counted_and_their_domains_looked_up() {
    let counted = [
        ("no link", 0),
        ("www.a.org and https://b.net/c?d", 2),
        ("<a href=\"http://x.com/1\">x.com</a>", 2),
        ("bare.example.com/path, and done.Then more", 1),
        ("version 1.2.3 of file.txt", 0),
        ("mail@host.com", 1),
    ];
    for (text, expected) in counted {
        assert_eq!(Links::of(&normal(text)).count(), expected, "{text}");
    }
    let listed = |text| {
        let policy = Policy { listed_domains: words(&["bad.com"]), ..empty() };
        judge(policy, text).decision == Decision::Pending
    };
    assert!(listed("see https://user@WWW.BAD.com:8080/x"));
    assert!(listed("see bad.com"));
    assert!(!listed("see notbad.com and bad.com.example.org"));
}

#[test]
fn facts_hold_and_trust_passes() {
    let policy = Policy {
        hold_first_comments: 2,
        repeated_text: Some(Repeated { count: 3, window: Duration::from_secs(60) }),
        banned_words: words(&["casino"]),
        trusted_author_ids: words(&["root"]),
        ..empty()
    };
    let compiled = Compiled::new(policy).unwrap();
    let judge = |text, author_id, author_approved, text_seen| {
        let judged = compiled.judge(text, Facts { author_id, author_approved, text_seen });
        (judged.decision, rules(&judged))
    };
    assert_eq!(judge("hi", "ada", 2, 2), (Decision::Approved, vec![]));
    assert_eq!(judge("hi", "ada", 1, 0), (Decision::Pending, vec![Rule::FirstComments]));
    assert_eq!(judge("hi", "ada", 2, 3), (Decision::Pending, vec![Rule::RepeatedText]));
    assert_eq!(judge("casino", "root", 0, 9), (Decision::Approved, vec![Rule::TrustedAuthor]));
}

#[test]
fn everything_that_is_wrong_with_a_policy_is_said_at_once() {
    let policy = Policy {
        banned_words: words(&["fine", " \u{200b}"]),
        suspect_patterns: words(&["fine", "(open", "((a{1,100}){1,100}){1,100}", ""]),
        repeated_text: Some(Repeated { count: 101, window: Duration::ZERO }),
        ..empty()
    };
    let wrong = Compiled::new(policy).err().unwrap();
    let fields: Vec<&str> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "banned_words[1]",
            "repeated_text_count",
            "repeated_text_window",
            "suspect_patterns[1]",
            "suspect_patterns[2]",
            "suspect_patterns[3]"
        ]
    );
}

#[test]
fn the_same_words_have_the_same_hash() {
    assert_eq!(text_hash("Check  this\nout!"), text_hash("check THIS out! "));
    assert_ne!(text_hash("check this out"), text_hash("check this out!"));
}

/// On comments as people wrote them, the default policy holds advertising and little
/// else.
#[test]
fn the_default_policy_holds_advertising() {
    let folder = std::env::var("AGORA_TEST_DATA").map_or_else(
        |_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples").into(),
        std::path::PathBuf::from,
    );
    let compiled = Compiled::new(Policy::default()).unwrap();
    let (mut held, mut held_ham, mut spam, mut all) = (0, 0, 0, 0);
    for file in std::fs::read_dir(folder.join("youtube-comments")).unwrap() {
        for record in csv::Reader::from_path(file.unwrap().path()).unwrap().records() {
            let record = record.unwrap();
            let is_spam = &record[4] == "1";
            let judged = compiled.judge(&record[3], Facts::default());
            all += 1;
            spam += usize::from(is_spam);
            if judged.decision == Decision::Pending {
                held += 1;
                held_ham += usize::from(!is_spam);
            }
        }
    }
    assert!(held * 2 > spam, "{held} of {spam} are held");
    assert!(held * 2 < all, "{held} of {all} are held");
    assert!(held_ham * 20 < held, "{held_ham} of {held} held are no advertising");
}

proptest! {
    #[test]
    fn no_text_makes_judging_panic(text in "\\PC*", word in "\\PC{1,20}") {
        let policy = Policy {
            banned_words: vec![word],
            suspect_patterns: words(&["(\\w+)\\s+x"]),
            max_links: Some(1),
            ..empty()
        };
        if let Ok(compiled) = Compiled::new(policy) {
            compiled.judge(&text, Facts::default());
        }
    }

    #[test]
    fn a_word_is_found_between_spaces(word in "[a-zA-Zß-ü]{1,12}", text in "[a-z ]{0,30}") {
        let policy = Policy { banned_words: vec![word.clone()], ..empty() };
        let judged = judge(policy, &format!("{text} {word} {text}"));
        prop_assert_eq!(judged.decision, Decision::Rejected);
    }

    #[test]
    fn being_normal_is_final(text in "\\PC*") {
        let once = normal(&text);
        prop_assert_eq!(text_hash(&once), text_hash(&text));
    }
}
