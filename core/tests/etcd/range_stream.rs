//! `RangeStream`: the pieces, merged, are the answer of `Range`.

use quorate::proto::etcdserverpb::RangeResponse;
use tonic::Code;

use super::*;

/// Merges as protobuf does: lists are joined, and what is set later wins.
async fn streamed(kv: &mut Kv, request: RangeRequest) -> (RangeResponse, usize) {
    let mut stream = kv.range_stream(request).await.unwrap().into_inner();
    let mut merged = RangeResponse::default();
    let mut pieces = 0;
    while let Some(piece) = stream.message().await.unwrap() {
        let piece = piece.range_response.unwrap();
        assert!(merged.header.is_none(), "only the last piece has a header");
        merged.kvs.extend(piece.kvs);
        merged.header = piece.header;
        merged.more |= piece.more;
        merged.count = merged.count.max(piece.count);
        pieces += 1;
    }
    (merged, pieces)
}

#[tokio::test]
async fn pieces_make_up_the_answer_of_a_range() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    for number in 0..300_u32 {
        let request = PutRequest {
            key: format!("key/{number:03}").into(),
            // Some are larger than a piece is meant to be.
            value: vec![b'v'; if number % 50 == 0 { 1_200_000 } else { 100 }].into(),
            ..PutRequest::default()
        };
        kv.put(request).await.unwrap();
    }
    kv.delete_range(delete("key/007")).await.unwrap();
    let all = RangeRequest {
        range_end: Bytes::from("key0"),
        ..get("key/")
    };
    let table = vec![
        all.clone(),
        RangeRequest {
            limit: 1,
            ..all.clone()
        },
        RangeRequest {
            limit: 16,
            ..all.clone()
        },
        RangeRequest {
            limit: 17,
            ..all.clone()
        },
        RangeRequest {
            limit: 298,
            ..all.clone()
        },
        RangeRequest {
            limit: 299,
            ..all.clone()
        },
        RangeRequest {
            limit: 300,
            ..all.clone()
        },
        RangeRequest {
            revision: 100,
            ..all.clone()
        },
        RangeRequest {
            revision: 100,
            limit: 50,
            ..all.clone()
        },
        RangeRequest {
            count_only: true,
            ..all.clone()
        },
        RangeRequest {
            keys_only: true,
            ..all.clone()
        },
        RangeRequest {
            serializable: true,
            ..all.clone()
        },
        RangeRequest {
            sort_order: 1,
            ..all.clone()
        },
        RangeRequest {
            range_end: Bytes::from_static(b"\0"),
            ..get("key/100")
        },
        get("key/050"),
        get("nothing"),
    ];
    for request in table {
        let whole = kv.range(request.clone()).await.unwrap().into_inner();
        let (merged, pieces) = streamed(&mut kv, request.clone()).await;
        assert_eq!(merged, whole, "{request:?}");
        assert!(pieces >= 1);
    }
    assert!(
        streamed(&mut kv, all.clone()).await.1 > 3,
        "it is really sent in pieces"
    );
}

#[tokio::test]
async fn pieces_are_of_one_revision() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    for number in 0..100_u32 {
        let request = PutRequest {
            key: format!("key/{number:03}").into(),
            value: vec![b'v'; 100_000].into(),
            ..PutRequest::default()
        };
        kv.put(request).await.unwrap();
    }
    let all = RangeRequest {
        range_end: Bytes::from("key0"),
        ..get("key/")
    };
    let mut stream = kv.range_stream(all).await.unwrap().into_inner();
    let first = stream
        .message()
        .await
        .unwrap()
        .unwrap()
        .range_response
        .unwrap();
    assert!(first.kvs.len() < 50, "the rest is still to come");
    // Flow control holds back what the client has not read, so the rest is read from the state after this.
    let range_end = Bytes::from("key0");
    kv.delete_range(DeleteRangeRequest {
        range_end,
        ..delete("key/")
    })
    .await
    .unwrap();
    let (mut keys, mut last) = (first.kvs.len(), None);
    while let Some(piece) = stream.message().await.unwrap() {
        let piece = piece.range_response.unwrap();
        keys += piece.kvs.len();
        last = Some(piece);
    }
    let last = last.unwrap();
    assert_eq!((keys, last.count), (100, 100));
    assert_eq!(
        last.header.unwrap().revision,
        102,
        "the revision of the node as it is by now"
    );
}

#[tokio::test]
async fn other_orders_are_asked_for_in_one_piece() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    let descending = RangeRequest {
        sort_order: 2,
        ..get("key")
    };
    let by_version = RangeRequest {
        sort_order: 1,
        sort_target: 1,
        ..get("key")
    };
    let filtered = RangeRequest {
        min_mod_revision: 5,
        ..get("key")
    };
    for request in [descending, by_version, filtered] {
        assert_eq!(
            kv.range_stream(request).await.unwrap_err().code(),
            Code::Unimplemented
        );
    }
    assert_eq!(
        kv.range_stream(get("")).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}
