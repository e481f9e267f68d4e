//! Decisions: for one revision each, and of two concurrent ones one wins.

use agora_proto::{
    comment::v1::{DeleteCommentRequest, UpdateCommentRequest},
    moderation::v1::{
        ApproveRevisionRequest, Case, CaseState, Decision, ListCasesRequest, RejectRevisionRequest,
        Rule,
    },
};
use chassis::testing::{Refusal, eventually};
use eventstore::on_every_database;
use tonic::Code;
use uuid::Uuid;

use crate::fixture::{Client, Fixture, Kind, SITE};

on_every_database! {
    Kind::Files, Kind::Schemas;
    of_two_concurrent_decisions_one_wins,
    a_decision_is_for_exactly_the_revision_that_it_names,
}

pub fn approve(case: &Case) -> ApproveRevisionRequest {
    ApproveRevisionRequest {
        site: SITE.into(),
        comment_id: case.comment_id.clone(),
        revision_id: case.revision_id.clone(),
        ..Default::default()
    }
}

pub fn reject(case: &Case) -> RejectRevisionRequest {
    RejectRevisionRequest {
        site: SITE.into(),
        comment_id: case.comment_id.clone(),
        revision_id: case.revision_id.clone(),
        reason: "advertising".into(),
        ..Default::default()
    }
}

pub async fn queue(client: &mut Client) -> Vec<String> {
    let request = ListCasesRequest { site: SITE.into(), ..Default::default() };
    let cases = client.list_cases(request).await.unwrap().into_inner().cases;
    cases.into_iter().map(|case| case.comment_id).collect()
}

async fn of_two_concurrent_decisions_one_wins(kind: Kind) {
    let fixture = Fixture::start(kind).await;
    let case = fixture.held_comment().await;
    assert_eq!(case.state(), CaseState::Open);
    let rules: Vec<Rule> =
        case.decision.as_ref().unwrap().hits.iter().map(|hit| hit.rule()).collect();
    assert_eq!(rules, [Rule::SuspectWord, Rule::SuspectWord]);

    let (mut eve, mut mallory) = (fixture.moderator("eve"), fixture.moderator("mallory"));
    assert_eq!(queue(&mut eve).await, std::slice::from_ref(&case.comment_id));
    let (approved, rejected) =
        tokio::join!(eve.approve_revision(approve(&case)), mallory.reject_revision(reject(&case)));
    let (winner, lost) = match (approved, rejected) {
        (Ok(won), Err(lost)) => (won.into_inner().moderation_case, Refusal::of::<()>(Err(lost))),
        (Err(lost), Ok(won)) => (won.into_inner().moderation_case, Refusal::of::<()>(Err(lost))),
        both => panic!("one wins, the other loses: {both:?}"),
    };
    let decision = winner.unwrap().decision.unwrap();
    assert_eq!(lost.what(), (Code::Aborted, "ALREADY_DECIDED"));
    assert_eq!(lost.metadata["decider_id"], decision.decider_id);
    assert_eq!(lost.metadata["decision_id"], decision.decision_id);
    assert!(queue(&mut eve).await.is_empty());

    // Who names the decision may overrule it.
    let overrule =
        RejectRevisionRequest { replaces: decision.decision_id.clone(), ..reject(&case) };
    let answer = eve.reject_revision(overrule).await.unwrap().into_inner();
    let now = answer.moderation_case.unwrap().decision.unwrap();
    assert_eq!(now.decision(), Decision::Rejected);
}

async fn a_decision_is_for_exactly_the_revision_that_it_names(kind: Kind) {
    let fixture = Fixture::start(kind).await;
    let first = fixture.held_comment().await;
    let mut eve = fixture.moderator("eve");
    let update = UpdateCommentRequest {
        site: SITE.into(),
        comment_id: first.comment_id.clone(),
        body: "subscribe, please".into(),
        ..Default::default()
    };
    fixture.comments().update_comment(update).await.unwrap();
    let second = fixture.case(&first.comment_id, 2).await;

    let stale = Refusal::of(eve.approve_revision(approve(&first)).await);
    assert_eq!(stale.what(), (Code::Aborted, "STALE_REVISION"));
    assert_eq!(stale.metadata["current_revision_id"], second.revision_id);
    let unknown =
        ApproveRevisionRequest { revision_id: Uuid::now_v7().to_string(), ..approve(&second) };
    let unknown = Refusal::of(eve.approve_revision(unknown).await);
    assert_eq!(unknown.what(), (Code::NotFound, "REVISION_NOT_FOUND"));
    let elsewhere = ApproveRevisionRequest { site: "other".into(), ..approve(&second) };
    let elsewhere = Refusal::of(eve.approve_revision(elsewhere).await);
    assert_eq!(elsewhere.what(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    let silent = RejectRevisionRequest { reason: String::new(), ..reject(&second) };
    let silent = Refusal::of(eve.reject_revision(silent).await);
    assert_eq!(silent.fields, ["reason"]);

    eve.approve_revision(approve(&second)).await.unwrap();
    let delete = DeleteCommentRequest {
        site: SITE.into(),
        comment_id: first.comment_id.clone(),
        ..Default::default()
    };
    fixture.comments().delete_comment(delete).await.unwrap();
    eventually("the deletion to be heard of", async || {
        let answer = eve.reject_revision(reject(&second)).await;
        (Refusal::of(answer).reason == "COMMENT_DELETED").then_some(())
    })
    .await;
}
