//! Every event type of every released version can be decoded for ever.
//!
//! `golden/<version>/<type>.bin` holds an encoded event as that version wrote it. To
//! add the files of a new version, run this test with `AGORA_WRITE_GOLDEN=1`.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use agora_proto::event::v1 as proto;
use bus_schema::{
    Checkpoint, DecodeError, Event, EventId, Kind, KindName, PostId, RequestId, RequestMark,
    Sequence, Site, Source, Subject, Time, plain,
};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn id(last: u8) -> Uuid {
    let mut bytes = *b"\x01\x9a\xaa\xaa\xaa\xaa\x70\0\x80\0\0\0\0\0\0\0";
    bytes[15] = last;
    Uuid::from_bytes(bytes)
}

fn bytes(last: u8) -> Bytes {
    Bytes::copy_from_slice(id(last).as_bytes())
}

fn time() -> Time {
    Time::from_micros(1_790_000_000_123_456)
}

/// One of each type, with every field set.
fn kinds() -> Vec<(Source, Kind)> {
    let author = || Some(proto::Author { id: "ada".into(), name: Some(plain("Ada Lovelace")) });
    let sealed = proto::Content {
        data: Bytes::from_static(b"\xff\xfe"),
        key_id: "author-7".into(),
        nonce: Bytes::from_static(b"0123456789"),
    };
    vec![
        (
            Source::Post,
            Kind::PostCreated(proto::PostCreated {
                external_key: "https://example.org/a".into(),
                title: Some(plain("A title")),
                body: Some(plain("A body\nof two lines")),
                author: author(),
                create_time: Some(time().into()),
            }),
        ),
        (
            Source::Post,
            Kind::PostUpdated(proto::PostUpdated {
                revision: 2,
                title: Some(plain("Another title")),
                body: Some(plain("")),
                closed: true,
            }),
        ),
        (Source::Post, Kind::PostDeleted(proto::PostDeleted { revision: 2 })),
        (Source::Post, Kind::PostClosed(proto::PostClosed { revision: 2 })),
        (Source::Post, Kind::PostReopened(proto::PostReopened { revision: 2 })),
        (
            Source::Comment,
            Kind::CommentCreated(proto::CommentCreated {
                parent_id: bytes(4),
                depth: 2,
                body: Some(sealed),
                author: author(),
                create_time: Some(time().into()),
            }),
        ),
        (
            Source::Comment,
            Kind::CommentUpdated(proto::CommentUpdated {
                revision: 2,
                body: Some(plain("Ünïcödé")),
            }),
        ),
        (Source::Comment, Kind::CommentDeleted(proto::CommentDeleted { revision: 2 })),
        (
            Source::Moderation,
            Kind::PolicySet(proto::PolicySet {
                version: 3,
                mode: proto::PolicyMode::ApproveUnlessHeld.into(),
                banned_words: vec!["spam".into()],
                suspect_words: vec!["subscribe".into()],
                suspect_patterns: vec!["(?i)free .* money".into()],
                max_links: Some(0),
                listed_domains: vec!["example.com".into()],
                repeated_text_count: 3,
                repeated_text_window: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
                max_length: 5_000,
                hold_first_comments: 2,
                trusted_author_ids: vec!["ada".into()],
            }),
        ),
        (
            Source::Moderation,
            Kind::RevisionDecided(proto::RevisionDecided {
                revision_id: bytes(5),
                revision: 2,
                decision: proto::Decision::Rejected.into(),
                cause: proto::Cause::Moderator.into(),
                reason: Some(plain("off topic")),
                policy_version: 3,
                hits: vec![proto::RuleHit {
                    rule: proto::Rule::SuspectWord.into(),
                    detail: Some(plain("subscribe")),
                }],
                replaces: bytes(6),
            }),
        ),
    ]
}

fn samples() -> Vec<Event> {
    kinds()
        .into_iter()
        .map(|(source, kind)| Event {
            id: EventId::from(id(1)),
            source,
            sequence: Sequence(7),
            time: time(),
            actor: "ada".into(),
            request: Some(RequestMark { id: RequestId::from(id(2)), hash: [7; 32] }),
            site: "blog".parse().unwrap(),
            post_id: Some(PostId::from(id(3))),
            aggregate: Some(id(4)),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            kind,
        })
        .collect()
}

#[test]
fn this_version_writes_what_its_golden_files_hold() {
    let folder = folder().join(env!("CARGO_PKG_VERSION"));
    let write = env::var_os("AGORA_WRITE_GOLDEN").is_some();
    fs::create_dir_all(&folder).unwrap();
    for event in samples() {
        let file = folder.join(KindName::of(&event.kind).as_str()).with_extension("bin");
        if write {
            fs::write(&file, event.encode()).unwrap();
        }
        let golden = fs::read(&file).unwrap();
        assert_eq!(event.encode(), golden, "{}", file.display());
    }
}

#[test]
fn every_event_of_every_version_decodes() {
    let mut versions = 0;
    for version in fs::read_dir(folder()).unwrap() {
        let mut types = BTreeSet::new();
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            let event = Event::decode(fs::read(&file).unwrap().into()).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            assert_eq!(KindName::of(&event.kind).as_str(), name);
            let subject = Subject::of(&event);
            assert_eq!(subject.to_string().parse(), Ok(subject));
            types.insert(name);
        }
        assert!(types.len() >= 10, "a version has lost its files: {types:?}");
        versions += 1;
    }
    assert!(versions >= 1);
}

#[test]
fn an_unknown_type_is_known_by_what_it_happened_to() {
    let newer = proto::Event { kind: None, ..proto::Event::decode(samples()[0].encode()).unwrap() };
    // A field of a number that this program does not know.
    let mut bytes = newer.encode_to_vec();
    bytes.extend([0xfa, 0x3e, 0x00]);
    let bytes = Bytes::from(bytes);
    let refused = Event::decode(bytes.clone()).unwrap_err();
    assert_eq!(refused, DecodeError::UnknownType { aggregate: Some(id(4)) });
    let subject = Subject::of_unknown(bytes).unwrap();
    let Event { source, site, .. } = &samples()[0];
    assert_eq!(subject.to_string(), format!("agora.{source}.{site}.unknown"));
    assert_eq!(subject.to_string().parse(), Ok(subject));
}

#[test]
fn the_chain_tells_every_change() {
    let events: Vec<Bytes> = samples().iter().map(Event::encode).collect();
    let end =
        |events: &[Bytes]| events.iter().fold(Checkpoint::ZERO, |head, event| head.extend(event));
    let head = end(&events);
    assert_eq!(head.sequence, Sequence(10));
    assert_ne!(head.hash, end(&events[..9]).extend(b"another").hash);
    let mut swapped = events.clone();
    swapped.swap(0, 1);
    assert_ne!(head.hash, end(&swapped).hash);
}

proptest! {
    #[test]
    fn no_bytes_make_decode_panic(bytes: Vec<u8>) {
        let _ = Event::decode(bytes.into());
    }

    #[test]
    fn a_flipped_byte_never_goes_unnoticed(position: prop::sample::Index, flip in 1u8..) {
        let event = &samples()[5];
        let mut bytes = event.encode().to_vec();
        let head = Checkpoint::ZERO.extend(&bytes);
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        prop_assert_ne!(Checkpoint::ZERO.extend(&bytes), head);
    }

    #[test]
    fn sites_are_slugs(text in "\\PC{0,50}") {
        let valid = !text.is_empty()
            && text.len() <= 40
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        prop_assert_eq!(text.parse::<Site>().is_ok(), valid);
    }

    #[test]
    fn times_survive_the_wire(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
        let time = Time::from_micros(micros);
        let timestamp = prost_types::Timestamp::from(time);
        prop_assert_eq!(Time::try_from(&timestamp), Ok(time));
    }
}
