use std::time::Duration;

use agora_post::{
    Error,
    domain::{Change, Command, Post, Posts, State, Text},
};
use bus_schema::{Author, Event, EventId, KindName, PostId, Sequence, Site, Source, Time};
use chassis::{
    Explain as _,
    call::{Actor, Origin},
};
use eventstore::Domain as _;
use proptest::{collection, option, prelude::*, sample::Index};
use tokio::time::Instant;

pub fn site(name: &str) -> Site {
    name.parse().unwrap()
}

pub fn origin(site: &Site, actor: &str) -> Origin {
    Origin {
        site: site.clone(),
        actor: actor.into(),
        request: None,
        deadline: Instant::now() + Duration::from_secs(60),
        traceparent: String::new(),
        size: 0,
    }
}

/// A command with the site and the actor that it comes from.
#[derive(Clone, Debug)]
pub struct Sent {
    pub site: Site,
    pub actor: String,
    pub command: Command,
}

/// The creation of a post.
pub fn create(site: &Site, author: &str, key: Option<&str>) -> Sent {
    let command = Command::Create {
        post_id: PostId::new(),
        site: site.clone(),
        external_key: key.map(Into::into),
        text: Text { title: "a title".into(), body: "a body".into() },
        author: Author { id: author.into(), name: author.to_uppercase() },
        create_time: None,
    };
    Sent { site: site.clone(), actor: author.into(), command }
}

/// A change of a post by its author, on whichever revision.
pub fn change(post: &Post, change: Change) -> Sent {
    let actor = Actor { id: post.author.id.clone(), administers: false };
    let command = Command::Change { post_id: post.id, actor, revision: None, change };
    Sent { site: post.site.clone(), actor: post.author.id.clone(), command }
}

/// What an update of the title alone asks for.
pub fn retitle(title: &str) -> Change {
    Change::Update { title: Some(title.into()), body: None }
}

/// Decides a command as the committer does, and gives its event this sequence; that is
/// its time as well.
pub fn decide(state: &State, sent: &Sent, sequence: Sequence) -> Result<Event, Error> {
    let now = Time::from_micros(sequence.as_i64());
    let origin = origin(&sent.site, &sent.actor);
    let mut drafts = Posts::decide(state, &origin, &sent.command, now)?;
    let draft = drafts.pop().expect("a command makes an event");
    assert!(drafts.is_empty(), "a command about a post makes one event");
    assert_eq!(KindName::of(&draft.kind), Posts::makes(&sent.command));
    Ok(Event {
        id: EventId::new(),
        source: Source::Post,
        sequence,
        time: now,
        actor: draft.actor,
        request: None,
        site: draft.site,
        post_id: draft.post_id,
        aggregate: draft.aggregate,
        traceparent: String::new(),
        kind: draft.kind,
    })
}

/// A state that is never forgotten, what made it, and what it answered.
#[derive(Default)]
pub struct Fold {
    pub state: State,
    pub events: Vec<Event>,
    pub replies: Vec<Post>,
}

impl Fold {
    /// Carries out a command.
    pub fn run(&mut self, sent: &Sent) -> Result<Post, Error> {
        let sequence = Sequence(self.events.len() as u64 + 1);
        let event = decide(&self.state, sent, sequence)?;
        Posts::apply(&mut self.state, &event).unwrap();
        let reply = Posts::reply(&self.state, &event).unwrap();
        self.events.push(event);
        self.replies.push(reply.clone());
        Ok(reply)
    }

    /// The posts of a site that are not deleted, newest first.
    pub fn list(&self, site: &Site) -> Vec<Post> {
        let posts = self.state.posts.values();
        let mut posts: Vec<Post> = posts
            .filter(|post| post.site == *site && !post.text.title.is_empty())
            .cloned()
            .collect();
        posts.sort_by_key(|post| std::cmp::Reverse((post.create_time, post.id)));
        posts
    }
}

/// The reason of a refusal.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("it is to be refused").fault().reason
}

/// A command that is to be made, on the posts that those before it made.
#[derive(Clone, Debug)]
pub enum Step {
    Create {
        site: u8,
        author: u8,
        key: Option<u8>,
        time: Option<i8>,
    },
    Change {
        post: Index,
        site: Option<u8>,
        actor: u8,
        admin: bool,
        on: Option<u32>,
        change: Change,
    },
}

/// Any commands: two sites, two authors, three keys, so that they meet.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let create = (0..2_u8, 0..2_u8, option::of(0..3_u8), option::of(any::<i8>()))
        .prop_map(|(site, author, key, time)| Step::Create { site, author, key, time });
    let text = || option::of("[a-zé\u{1f600}]{1,3}");
    let what = prop_oneof![
        3 => (text(), text()).prop_map(|(title, body)| Change::Update { title, body }),
        2 => Just(Change::Delete),
        2 => Just(Change::Close),
        2 => Just(Change::Reopen),
    ];
    let site = option::weighted(0.1, 0..2_u8);
    let on = option::weighted(0.3, 1..4_u32);
    let change = (any::<Index>(), site, 0..2_u8, any::<bool>(), on, what).prop_map(
        |(post, site, actor, admin, on, change)| Step::Change {
            post,
            site,
            actor,
            admin,
            on,
            change,
        },
    );
    collection::vec(prop_oneof![2 => create, 3 => change], 1..40)
}

impl Step {
    /// The command; none if it is to change a post and there is no post.
    pub fn command(&self, created: &[(PostId, Site)]) -> Option<Sent> {
        let name = |site: u8| site_number(site);
        match self {
            Self::Create { site, author, key, time } => {
                let key = key.map(|key| format!("key {key}"));
                let mut sent = create(&name(*site), &format!("author {author}"), key.as_deref());
                if let Command::Create { create_time, .. } = &mut sent.command {
                    *create_time = time.map(|time| Time::from_micros(time.into()));
                }
                Some(sent)
            }
            Self::Change { .. } if created.is_empty() => None,
            Self::Change { post, site, actor, admin, on, change } => {
                let (post_id, home) = post.get(created);
                let actor = Actor { id: format!("author {actor}"), administers: *admin };
                let sent = Sent {
                    site: site.map_or_else(|| home.clone(), name),
                    actor: actor.id.clone(),
                    command: Command::Change {
                        post_id: *post_id,
                        actor,
                        revision: *on,
                        change: change.clone(),
                    },
                };
                Some(sent)
            }
        }
    }
}

/// One of the sites that [`steps`] are about.
pub fn site_number(number: u8) -> Site {
    site(["blog", "news"][usize::from(number)])
}

/// The commands of these steps, whether they will be refused or not.
pub fn commands(steps: &[Step]) -> Vec<Sent> {
    let mut created = Vec::new();
    let mut commands = Vec::new();
    for step in steps {
        let Some(sent) = step.command(&created) else { continue };
        if let Command::Create { post_id, site, .. } = &sent.command {
            created.push((*post_id, site.clone()));
        }
        commands.push(sent);
    }
    commands
}
