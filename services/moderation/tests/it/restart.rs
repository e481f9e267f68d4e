//! What is known after a restart, and after the database was lost.

use agora_proto::{
    comment::v1::{DeleteCommentRequest, UpdateCommentRequest},
    moderation::v1::{ApproveRevisionRequest, Case, CaseState, GetCaseRequest, GetCaseResponse},
};
use chassis::testing::eventually;
use eventstore::on_every_database;
use uuid::Uuid;

use crate::{
    decide::{approve, queue, reject},
    fixture::{Fixture, Kind, SITE},
};

on_every_database! {
    Kind::Files, Kind::Schemas;
    a_retry_gets_the_same_answer_after_a_restart_too,
    a_lost_database_is_made_again_from_the_streams,
}

async fn a_retry_gets_the_same_answer_after_a_restart_too(kind: Kind) {
    let mut fixture = Fixture::start(kind).await;
    let case = fixture.held_comment().await;
    let request =
        ApproveRevisionRequest { request_id: Uuid::now_v7().to_string(), ..approve(&case) };
    let first = fixture.moderator("eve").approve_revision(request.clone()).await.unwrap();
    fixture.stop().await;
    fixture.start_again().await;
    let mut eve = fixture.moderator("eve");
    let again = eventually("the service to be back", async || {
        eve.approve_revision(request.clone()).await.ok()
    })
    .await;
    assert_eq!(first.into_inner().moderation_case, again.into_inner().moderation_case);
    assert!(queue(&mut eve).await.is_empty());
}

/// Everything that is known of a case.
async fn known(fixture: &Fixture, case: &Case) -> Option<GetCaseResponse> {
    let request = GetCaseRequest {
        site: SITE.into(),
        comment_id: case.comment_id.clone(),
        ..Default::default()
    };
    let answer = fixture.moderator("eve").get_case(request).await.ok()?.into_inner();
    Some(GetCaseResponse { position: String::new(), ..answer })
}

async fn a_lost_database_is_made_again_from_the_streams(kind: Kind) {
    let mut fixture = Fixture::start(kind).await;
    let mut eve = fixture.moderator("eve");
    let calm = fixture.comment("I like this song").await;
    let open = fixture.held_comment().await;
    let approved = fixture.held_comment().await;
    eve.approve_revision(approve(&approved)).await.unwrap();
    let updated = fixture.comment("I like it too").await;
    let update = UpdateCommentRequest {
        site: SITE.into(),
        comment_id: updated.comment_id.clone(),
        body: "subscribe, please".into(),
        ..Default::default()
    };
    fixture.comments().update_comment(update).await.unwrap();
    let updated = fixture.case(&updated.comment_id, 2).await;
    eve.reject_revision(reject(&updated)).await.unwrap();
    let deleted = fixture.held_comment().await;
    let delete = DeleteCommentRequest {
        site: SITE.into(),
        comment_id: deleted.comment_id.clone(),
        ..Default::default()
    };
    fixture.comments().delete_comment(delete).await.unwrap();
    eventually("the deletion to be heard of", async || {
        known(&fixture, &deleted).await?.moderation_case.filter(|case| case.deleted)
    })
    .await;

    let cases = [calm, open, approved, updated, deleted];
    let mut before = Vec::new();
    for case in &cases {
        before.push(known(&fixture, case).await.unwrap());
    }
    let states: Vec<CaseState> =
        before.iter().map(|known| known.moderation_case.as_ref().unwrap().state()).collect();
    assert_eq!(states[1..4], [CaseState::Open, CaseState::Closed, CaseState::Closed]);
    let waiting = queue(&mut eve).await;

    fixture.stop().await;
    fixture.lose_database().await;
    fixture.start_again().await;
    for (case, before) in cases.iter().zip(before) {
        eventually(&format!("the same as before: {before:?}"), async || {
            (known(&fixture, case).await.as_ref() == Some(&before)).then_some(())
        })
        .await;
    }
    assert_eq!(queue(&mut fixture.moderator("eve")).await, waiting);
}
