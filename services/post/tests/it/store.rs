use agora_post::{
    Error,
    domain::{Change, Post, Posts, State},
    store::{Cursor, Key, MAX_PAGE_BYTES, Page, Postgres, Read as _, Sqlite, Store},
};
use bus_schema::{Event, PostId, Sequence, Site};
use eventstore::{
    Domain as _, database::Backend as _, domain::Connection, on_every_database, testing::Place,
};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::commands::{
    Fold, Sent, change, commands, create, decide, reason, retitle, site, site_number, steps,
};

/// A database, written as the committer does.
struct Stored<S: Store> {
    store: S,
    connection: Connection<S>,
    reader: S::Reader,
    written: u64,
    _place: Place,
}

impl<S: Store> Stored<S> {
    async fn new(store: S) -> Self {
        let place = Place::of::<S>("post").await;
        let database = S::Backend::open(&place.settings, S::migrations()).await.unwrap();
        let reader = S::reader(database.readers);
        Self { store, connection: database.writer, reader, written: 0, _place: place }
    }

    /// Carries out commands in one transaction.
    async fn commit(&mut self, batch: &[Sent]) -> Vec<Result<Post, Error>> {
        S::Backend::begin(&mut self.connection).await.unwrap();
        let sent: Vec<_> = batch.iter().map(|sent| &sent.command).collect();
        let mut state = self.store.load(&mut self.connection, &sent).await.unwrap();
        let (mut events, mut outcomes) = (Vec::new(), Vec::new());
        for sent in batch {
            let sequence = Sequence(self.written + 1);
            outcomes.push(decide(&state, sent, sequence).map(|event| {
                Posts::apply(&mut state, &event).unwrap();
                let reply = Posts::reply(&state, &event).unwrap();
                self.written += 1;
                events.push(event);
                reply
            }));
        }
        self.write(&state, &events).await;
        outcomes
    }

    /// Folds events that came from a stream, in one transaction.
    async fn import(&mut self, events: &[Event]) {
        S::Backend::begin(&mut self.connection).await.unwrap();
        let mut state = self.store.load_for(&mut self.connection, events).await.unwrap();
        for event in events {
            Posts::apply(&mut state, event).unwrap();
        }
        self.write(&state, events).await;
    }

    async fn write(&mut self, state: &State, events: &[Event]) {
        self.store.write(&mut self.connection, state, events).await.unwrap();
        S::Backend::commit(&mut self.connection).await.unwrap();
    }

    /// What a retry of the request that made an event is answered with.
    async fn reply(&mut self, event: &Event) -> Post {
        let events = std::slice::from_ref(event);
        let state = self.store.load_for(&mut self.connection, events).await.unwrap();
        Posts::reply(&state, event).unwrap()
    }

    async fn get(&self, site: &Site, id: PostId) -> Option<Post> {
        self.reader.post(site, &Key::Id(id)).await.unwrap()
    }

    async fn find(&self, site: &Site, key: &str) -> Option<Post> {
        self.reader.post(site, &Key::External(key.into())).await.unwrap()
    }

    /// All pages of a site's list.
    async fn list(&self, site: &Site, size: usize) -> Vec<Post> {
        let (mut posts, mut after): (Vec<Post>, _) = (Vec::new(), None);
        loop {
            let page = self.reader.posts(site, after, size).await.unwrap();
            assert!(page.posts.len() <= size);
            assert!(page.is_last || !page.posts.is_empty(), "a list never ends");
            assert!(page.posts.iter().all(|post| !posts.contains(post)), "a list goes in circles");
            posts.extend(page.posts);
            if page.is_last {
                return posts;
            }
            after = posts.last().map(|post| Cursor::after(post.create_time, post.id));
        }
    }
}

async fn a_post_is_read_as_it_was_written<S: Store>(store: S) {
    let mut stored = Stored::new(store).await;
    let blog = site("blog");
    let mut outcomes = stored.commit(&[create(&blog, "ada", Some("k"))]).await;
    let post = outcomes.remove(0).unwrap();
    assert_eq!(stored.get(&blog, post.id).await, Some(post.clone()));
    assert_eq!(stored.find(&blog, "k").await, Some(post.clone()));
    assert_eq!(stored.find(&blog, "K").await, None);
    assert_eq!(stored.get(&site("news"), post.id).await, None);
    assert_eq!(stored.find(&site("news"), "k").await, None);

    let mut outcomes = stored.commit(&[change(&post, Change::Delete)]).await;
    let tombstone = outcomes.remove(0).unwrap();
    assert_eq!(stored.get(&blog, post.id).await, Some(tombstone));
    assert_eq!(stored.find(&blog, "k").await, None);
    assert_eq!(stored.list(&blog, 10).await, []);
}

async fn a_key_changes_hands_within_one_batch<S: Store>(store: S) {
    let mut stored = Stored::new(store).await;
    let blog = site("blog");
    let take = || create(&blog, "ada", Some("k"));
    let mut outcomes = stored.commit(&[take(), take()]).await;
    assert_eq!(reason(outcomes.remove(1)), "EXTERNAL_KEY_TAKEN");
    let first = outcomes.remove(0).unwrap();

    let batch = [take(), change(&first, Change::Delete), take(), take()];
    let mut outcomes = stored.commit(&batch).await;
    assert_eq!(reason(outcomes.remove(3)), "EXTERNAL_KEY_TAKEN");
    let second = outcomes.remove(2).unwrap();
    assert_eq!(outcomes.remove(1).unwrap().id, first.id);
    assert_eq!(reason(outcomes.remove(0)), "EXTERNAL_KEY_TAKEN");
    assert_eq!(stored.find(&blog, "k").await, Some(second));
}

async fn one_batch_carries_many_posts_and_many_changes<S: Store>(store: S) {
    let mut stored = Stored::new(store).await;
    let blog = site("blog");
    // More than one statement takes.
    let creates: Vec<Sent> = (0..600).map(|_| create(&blog, "ada", None)).collect();
    let outcomes = stored.commit(&creates).await;
    let posts: Vec<Post> = outcomes.into_iter().map(Result::unwrap).collect();
    let mut batch = Vec::new();
    for post in &posts {
        batch.extend([change(post, retitle("one")), change(post, Change::Close)]);
        batch.extend([change(post, retitle("two")), change(post, Change::Reopen)]);
    }
    let outcomes = stored.commit(&batch).await;
    let mut changed: Vec<Post> =
        outcomes.into_iter().skip(3).step_by(4).map(Result::unwrap).collect();
    changed.reverse();
    assert!(changed.iter().all(|post| post.revision == 3 && post.text.title == "two"));
    assert_eq!(stored.list(&blog, 500).await, changed);
}

async fn a_page_is_limited_by_its_bytes<S: Store>(store: S) {
    let mut stored = Stored::new(store).await;
    let blog = site("blog");
    let mut commands: Vec<Sent> = (0..100).map(|_| create(&blog, "ada", None)).collect();
    let outcomes = stored.commit(&commands).await;
    let body = "é".repeat(32 * 1024);
    let large = Change::Update { title: None, body: Some(body.clone()) };
    commands = outcomes.into_iter().map(|post| change(&post.unwrap(), large.clone())).collect();
    stored.commit(&commands).await;

    let Page { posts, is_last } = stored.reader.posts(&blog, None, 500).await.unwrap();
    let bytes: usize = posts.iter().map(|post| post.text.body.len()).sum();
    assert!(!is_last && bytes <= MAX_PAGE_BYTES && bytes + body.len() * 2 > MAX_PAGE_BYTES);
    assert_eq!(stored.list(&blog, 500).await.len(), 100);
}

on_every_database! {
    Sqlite, Postgres;
    a_post_is_read_as_it_was_written,
    a_key_changes_hands_within_one_batch,
    one_batch_carries_many_posts_and_many_changes,
    a_page_is_limited_by_its_bytes,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Batches of any size on a database answer and leave what one state that is never
    /// forgotten does; so does a database that is made from the events.
    #[test]
    fn a_database_is_as_good_as_memory(steps in steps(), sizes in prop::collection::vec(1..8_usize, 40)) {
        let commands = commands(&steps);
        Runtime::new().unwrap().block_on(async {
            compare(|| Sqlite, &commands, &sizes).await;
            compare(|| Postgres, &commands, &sizes).await;
        });
    }
}

async fn compare<S: Store>(store: impl Fn() -> S, commands: &[Sent], sizes: &[usize]) {
    let (mut fold, mut stored) = (Fold::default(), Stored::new(store()).await);
    let (mut rest, mut sizes) = (commands, sizes.iter().cycle());
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        rest = others;
        for (sent, outcome) in batch.iter().zip(stored.commit(batch).await) {
            match (fold.run(sent), outcome) {
                (Ok(expected), outcome) => assert_eq!(outcome.unwrap(), expected),
                (Err(expected), outcome) => {
                    assert_eq!(reason(outcome), reason::<()>(Err(expected)))
                }
            }
        }
    }
    assert_same(&fold, &mut stored).await;

    let mut rebuilt = Stored::new(store()).await;
    for events in fold.events.chunks(7) {
        rebuilt.import(events).await;
    }
    assert_same(&fold, &mut rebuilt).await;
}

/// That a database holds what a fold does, and answers retries as the fold did.
async fn assert_same<S: Store>(fold: &Fold, stored: &mut Stored<S>) {
    for post in fold.state.posts.values() {
        assert_eq!(stored.get(&post.site, post.id).await.as_ref(), Some(post));
    }
    for (number, size) in [(0, 3), (1, 50)] {
        let site = site_number(number);
        assert_eq!(stored.list(&site, size).await, fold.list(&site));
    }
    for ((site, key), id) in &fold.state.keys {
        assert_eq!(stored.find(site, key).await.unwrap().id, *id);
    }
    for (event, reply) in fold.events.iter().zip(&fold.replies) {
        assert_eq!(stored.reply(event).await, *reply);
    }
}
