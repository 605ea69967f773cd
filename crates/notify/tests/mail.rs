//! E-mail, to a server that speaks just enough SMTP.

use std::collections::VecDeque;

use domain::Secret;
use domain::alert::{DeliveryState, DestinationKind};
use notify::smtp::Smtp;
use runtime::egress::Rules;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::world::World;

/// A conversation: what the client said, line by line.
type Said = Vec<String>;

/// Listens; answers `RCPT` with what is listed, then with 250.
async fn server(script: Vec<&'static str>) -> (String, mpsc::UnboundedReceiver<Said>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("smtp://ada:p%40ss@{}?tls=none", listener.local_addr().expect("an address"));
    let (tell, said) = mpsc::unbounded_channel();
    runtime::tasks::spawn("test.mail", async move {
        let mut script = VecDeque::from(script);
        while let Ok((stream, _)) = listener.accept().await {
            drop(tell.send(talk(stream, &mut script).await));
        }
    });
    (url, said)
}

async fn talk(mut stream: TcpStream, script: &mut VecDeque<&'static str>) -> Said {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut said = Vec::new();
    let mut is_data = false;
    write.write_all(b"220 test\r\n").await.expect("written");
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." => {
                is_data = false;
                "250 kept"
            }
            _ if is_data => "",
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "RCPT" => script.pop_front().unwrap_or("250 ok"),
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        said.push(line);
        if !answer.is_empty() && write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            break;
        }
    }
    said
}

async fn world(script: Vec<&'static str>) -> (World, notify::Office, mpsc::UnboundedReceiver<Said>) {
    let (url, said) = server(script).await;
    let world = World::new().await;
    world.destination(DestinationKind::Email, "mail", "").await;
    let smtp = Smtp::new(&Secret::new(url), "Headgate <alerts@example.com>", None).expect("settings");
    let office = world.office(Rules::default(), Some(smtp));
    (world, office, said)
}

#[tokio::test]
async fn an_alert_is_mailed_to_all_mailboxes_of_a_destination() {
    let (world, office, mut said) = world(Vec::new()).await;
    let alert = world.raise(1).await;
    assert_eq!(office.round().await, 1);
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.last_status), (DeliveryState::Delivered, Some(250)), "{kept:?}");
    drop(office);
    let said = said.recv().await.expect("a conversation");
    let has = |text: &str| said.iter().any(|line| line.contains(text));
    assert!(has("AUTH PLAIN AGFkYQBwQHNz"), "{said:?}");
    assert!(
        has("MAIL FROM:<alerts@example.com>") && has("RCPT TO:<ada@example.com>") && has("RCPT TO:<bob@example.com>")
    );
    assert!(has("Subject: [Headgate] warning: 80 % are spent.") && has("posted: 20"), "{said:?}");
    assert!(has(&format!("Message-ID: <{}.", alert.id)), "{said:?}");
}

#[tokio::test]
async fn a_mailbox_that_is_busy_is_tried_again_and_one_that_does_not_exist_is_not() {
    let (world, office, _said) = world(vec!["450 busy", "550 nobody here"]).await;
    world.raise(1).await;
    office.round().await;
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.last_status), (DeliveryState::Waiting, Some(450)), "{kept:?}");
    world.advance(10);
    office.round().await;
    let kept = world.delivery().await;
    assert_eq!((kept.state, kept.last_status), (DeliveryState::Dead, Some(550)), "{kept:?}");
    assert!(kept.last_answer.is_some_and(|text| text.contains("nobody here")));
}

#[tokio::test]
async fn without_a_server_mail_waits_and_says_so() {
    let world = World::new().await;
    world.destination(DestinationKind::Email, "mail", "").await;
    world.raise(1).await;
    world.local_office().round().await;
    let kept = world.delivery().await;
    assert_eq!(kept.state, DeliveryState::Waiting);
    assert_eq!(kept.last_answer.as_deref(), Some("this installation has no SMTP server set"));
}
