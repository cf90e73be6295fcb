//! Who is let in, and whom the store lets itself be served by: versions, users, certificates.

use std::sync::Arc;

use synapse_core::feed::FeedSink;
use synapse_core::remote::{Outcome, Remote};
use synapse_core::reply::Reply;
use synapse_tiers::redis::RedisRemote;
use synapse_tiers::redis::endpoint::Location;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Event, Recorder, key, open, options, ready, run, send};

/// A server that says it is older than it is: what Redis answers, with the major version lowered.
async fn old_server(redis: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
            tokio::spawn(async move {
                let (mut buffer, mut answer) = ([0; 4096], [0; 4096]);
                loop {
                    tokio::select! {
                        Ok(count @ 1..) = client.read(&mut buffer) => server.write_all(&buffer[..count]).await.unwrap(),
                        Ok(count @ 1..) = server.read(&mut answer) => {
                            let text = String::from_utf8_lossy(&answer[..count]).replace("\r\n7.", "\r\n6.");
                            client.write_all(text.as_bytes()).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_clearly() {
    let server = RedisServer::start(&[]);
    let port = old_server(server.port).await;
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let remote = RedisRemote::start(options(&format!("redis://127.0.0.1:{port}")), sink);
    eventually("refused", async || {
        remote.health().is_err_and(|reason| reason.contains("too old: 7.0 or newer is needed"))
    })
    .await;
    let error = send(&remote, vec![run(&["SET", "a", "1"])]).await.unwrap_err().to_string();
    assert!(error.starts_with("REDISDOWN") && error.contains("too old"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acl_user_enters_and_rotated_credentials_are_taken_up() {
    let server = RedisServer::start(&[
        "--user",
        "default",
        "on",
        "nopass",
        "+@all",
        "~*",
        "--user",
        "app",
        "on",
        ">old",
        "+@all",
        "~t*:*",
        "resetchannels",
    ]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let url = |password: &str| format!("redis://app:{password}@127.0.0.1:{}\n", server.port);
    std::fs::write(&file, url("wrong")).unwrap();
    let mut options = options(&server.url());
    options.endpoint.location = Location::File(file.clone());
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let remote = RedisRemote::start(options, sink);
    eventually("refused", async || remote.health().is_err_and(|reason| reason.contains("WRONGPASS"))).await;
    assert!(!remote.health().unwrap_err().contains("wrong@"));
    std::fs::write(&file, url("old")).unwrap();
    ready(&remote).await;
    let refused = remote.keep_alive(key("elsewhere"), key("1"), 5).await.unwrap();
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with(b"NOPERM")), "{refused:?}");
    assert_eq!(send(&remote, vec![run(&["SET", "a", "1"])]).await.unwrap(), [Outcome::Reply(Reply::OK)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_its_own() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    let leaf_pem = leaf.signed_by(&leaf_key, &issuer).unwrap().pem();
    let ca_file = write("ca", &ca_pem);
    let (cert, key_file) = (write("cert", &leaf_pem), write("key", &leaf_key.serialize_pem()));
    let server = RedisServer::start(&[
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        cert.to_str().unwrap(),
        "--tls-key-file",
        key_file.to_str().unwrap(),
        "--tls-ca-cert-file",
        ca_file.to_str().unwrap(),
    ]);
    let mut options = options(&format!("rediss://localhost:{}", server.port));
    options.endpoint.ca_file = Some(ca_file);
    let (remote, sink) = open(options.clone()).await;
    assert_eq!(send(&remote, vec![run(&["SET", "a", "1"])]).await.unwrap(), [Outcome::Reply(Reply::OK)]);
    server.cli(&["SET", "t*:b", "1"]);
    eventually("announced", async || sink.count(&Event::Changed("b".into())) == 1).await;

    let other_key = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&other_key).unwrap().pem();
    options.endpoint.ca_file = Some(write("stranger", &stranger));
    let distrusting = RedisRemote::start(options, Arc::new(Recorder::default()));
    eventually("distrusted", async || distrusting.health().is_err_and(|r| r.contains("ertificate"))).await;
}
