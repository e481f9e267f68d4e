use std::time::Duration;

use agora_comment::{
    Error,
    domain::{Change, Command, Comment, Comments, Create, Post, Reply, State, Verdict},
};
use bus_schema::{
    Author, CommentId, Event, EventId, KindName, PostId, PostState, Sequence, Site, Source, Time,
};
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

/// A command with the site and the actor that it comes from.
#[derive(Clone, Debug)]
pub struct Sent {
    pub site: Site,
    pub actor: String,
    pub command: Command,
}

/// The creation of a comment.
pub fn create(site: &Site, author: &str, post_id: PostId, parent_id: Option<CommentId>) -> Sent {
    let create = Create {
        comment_id: CommentId::new(),
        post_id,
        parent_id,
        body: "a body".into(),
        author: Author { id: author.into(), name: author.to_uppercase() },
        create_time: Some(Time::from_micros(-7)),
        asked: None,
    };
    Sent { site: site.clone(), actor: author.into(), command: Command::Create(create) }
}

/// A change of a comment by its author, on whichever revision.
pub fn change(comment: &Comment, change: Change) -> Sent {
    let actor = Actor { id: comment.author.id.clone(), administers: false };
    let command = Command::Change { comment_id: comment.id, actor, revision: None, change };
    Sent { site: comment.site.clone(), actor: comment.author.id.clone(), command }
}

/// What an update asks for.
pub fn reword(body: &str) -> Change {
    Change::Update { body: body.into() }
}

/// Decides a command as the committer does, and gives its event this sequence; that is
/// its time as well.
pub fn decide(state: &State, sent: &Sent, sequence: Sequence) -> Result<Event, Error> {
    let now = Time::from_micros(sequence.as_i64());
    let origin = Origin {
        site: sent.site.clone(),
        actor: sent.actor.clone(),
        request: None,
        deadline: Instant::now() + Duration::from_secs(60),
        traceparent: String::new(),
        size: 0,
    };
    let mut drafts = Comments::decide(state, &origin, &sent.command, now)?;
    let draft = drafts.pop().expect("a command makes an event");
    assert!(drafts.is_empty(), "a command about a comment makes one event");
    assert_eq!(KindName::of(&draft.kind), Comments::makes(&sent.command));
    Ok(Event {
        id: EventId::new(),
        source: Source::Comment,
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
    pub replies: Vec<Reply>,
}

impl Fold {
    /// Hears of a post.
    pub fn hear(&mut self, post_id: PostId, site: &Site, state: PostState) {
        self.state.posts.insert(post_id, Post { site: site.clone(), state });
    }

    /// Hears what moderation says of a comment.
    pub fn judge(&mut self, id: CommentId, verdict: Verdict) {
        self.state.comments.get_mut(&id).unwrap().verdict = Some(verdict);
    }

    /// Carries out a command.
    pub fn run(&mut self, sent: &Sent) -> Result<Reply, Error> {
        let sequence = Sequence(self.events.len() as u64 + 1);
        let event = decide(&self.state, sent, sequence)?;
        Comments::apply(&mut self.state, &event).unwrap();
        let reply = Comments::reply(&self.state, &event).unwrap();
        self.events.push(event);
        self.replies.push(reply.clone());
        Ok(reply)
    }
}

/// The reason of a refusal.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("it is to be refused").fault().reason
}

/// Something that happens, on the comments that were asked for before it.
#[derive(Clone, Debug)]
pub enum Step {
    /// The post service says that a post is in this state.
    Post { post: usize, state: PostState },
    /// Moderation says this of a comment.
    Verdict { comment: Index, verdict: Verdict },
    /// Somebody comments.
    Create { post: usize, site: usize, parent: Option<Index>, author: u8, asked: Option<PostState> },
    /// Somebody changes a comment.
    Change { comment: Index, actor: u8, admin: bool, on: Option<u32>, change: Change },
}

/// How many posts [`steps`] are about: two of the first site, one of the second.
pub const POSTS: usize = 3;

/// The site of a post of [`steps`].
pub fn site_of(post: usize) -> Site {
    site(["blog", "blog", "news"][post])
}

/// Anything: three posts, two authors, so that they meet.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let state =
        || prop::sample::select(vec![PostState::Open, PostState::Closed, PostState::Deleted]);
    // Mostly open: else nothing could be said.
    let mostly = prop_oneof![4 => Just(PostState::Open), 1 => state()];
    let post = (0..POSTS, mostly).prop_map(|(post, state)| Step::Post { post, state });
    let verdict = prop::sample::select(vec![Verdict::Approved, Verdict::Rejected]);
    let verdict =
        (any::<Index>(), verdict).prop_map(|(comment, verdict)| Step::Verdict { comment, verdict });
    let parent = option::weighted(0.6, any::<Index>());
    let asked = option::weighted(0.4, state());
    let create = (0..POSTS, option::weighted(0.1, 0..POSTS), parent, 0..2_u8, asked).prop_map(
        |(post, site, parent, author, asked)| Step::Create {
            post,
            site: site.unwrap_or(post),
            parent,
            author,
            asked,
        },
    );
    let what = prop_oneof![
        2 => "[a-zé\u{1f600}]{1,3}".prop_map(|body| reword(&body)),
        1 => Just(Change::Delete),
    ];
    let on = option::weighted(0.3, 1..4_u32);
    let change = (any::<Index>(), 0..2_u8, any::<bool>(), on, what).prop_map(
        |(comment, actor, admin, on, change)| Step::Change { comment, actor, admin, on, change },
    );
    collection::vec(prop_oneof![1 => post, 1 => verdict, 4 => create, 3 => change], 1..60)
}

/// A step with the ids that it is about.
#[derive(Clone, Debug)]
pub enum Input {
    Post(PostId, Site, PostState),
    Verdict(CommentId, Verdict),
    Sent(Sent),
}

/// What these steps are, whether they will be refused or not; those aside that are about
/// a comment when there is none.
pub fn inputs(steps: &[Step]) -> Vec<Input> {
    let posts: [PostId; POSTS] = std::array::from_fn(|_| PostId::new());
    let mut asked_for: Vec<(CommentId, Site)> = Vec::new();
    let mut inputs = Vec::new();
    for step in steps {
        let input = match step {
            Step::Post { post, state } => Input::Post(posts[*post], site_of(*post), *state),
            Step::Verdict { .. } | Step::Change { .. } if asked_for.is_empty() => continue,
            Step::Verdict { comment, verdict } => {
                Input::Verdict(comment.get(&asked_for).0, *verdict)
            }
            Step::Create { post, site, parent, author, asked } => {
                let parent = parent.filter(|_| !asked_for.is_empty());
                let parent = parent.map(|parent| parent.get(&asked_for).0);
                let author = format!("author {author}");
                let mut sent = create(&site_of(*site), &author, posts[*post], parent);
                if let Command::Create(create) = &mut sent.command {
                    create.asked = *asked;
                    asked_for.push((create.comment_id, sent.site.clone()));
                }
                Input::Sent(sent)
            }
            Step::Change { comment, actor, admin, on, change } => {
                let (comment_id, site) = comment.get(&asked_for).clone();
                let actor = Actor { id: format!("author {actor}"), administers: *admin };
                let (revision, change) = (*on, change.clone());
                let name = actor.id.clone();
                let command = Command::Change { comment_id, actor, revision, change };
                Input::Sent(Sent { site, actor: name, command })
            }
        };
        inputs.push(input);
    }
    inputs
}
