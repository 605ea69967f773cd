//! Whether a person may come in: disabling and enabling a membership, and a new one-time password.

use api::Empty;
use api::ops::members::{DisableMember, EnableMember, MemberView, OneTimePasswordView, ResetMemberPassword};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Note;
use ui::browser;
use ui::button::{Button, Weight};
use ui::confirm::Question;
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::FormError;
use ui::format::time;
use ui::icon::Icon;
use ui::secret_box::SecretBox;
use ui::toast::Toasts;

use super::People;
use kit::api::{use_act, use_command};
use kit::ask::use_ask;

/// Access tokens end for good, so this is asked before and not undone after.
fn disable(people: People, member: &MemberView) {
    let toasts = expect_context::<Toasts>();
    let question = Question {
        act: "Disable member".to_owned(),
        warning: format!("{} loses access at once", member.name),
        text: "Roles stop counting and sessions end until the member is enabled again. Access tokens are revoked for good, so scripts that use them need new ones. Virtual keys go on working.".to_owned().into(),
        name: member.email.to_string(),
    };
    use_ask().before::<DisableMember>(question, people.member(member.id), move |member| {
        toasts.done(format!("{} is disabled: no role counts, no token works.", member.name));
        people.list.refetch();
    });
}

/// The buttons of a member's panel; nobody locks themselves out here.
pub(super) fn acts(people: People, member: &MemberView, resetting: RwSignal<bool>) -> AnyView {
    if people.is_oneself(member) {
        return ().into_any();
    }
    let (enable, toasts) = (use_act::<EnableMember>(), expect_context::<Toasts>());
    let path = people.member(member.id);
    let put_back = move || {
        enable.run(path, Empty {}, move |member| {
            toasts.done(format!("{} has the roles of before. Access tokens stay revoked.", member.name));
            people.list.refetch();
        });
    };
    let for_disable = member.clone();
    let lock = Callback::new(move |()| disable(people, &for_disable));
    let is_disabled = member.disabled_at.is_some();
    let reset = Callback::new(move |()| resetting.set(true));
    view! {
        <Button icon=Icon::Key on_press=reset test_id="reset-password">"New password"</Button>
        {if is_disabled {
            view! { <Button busy=enable.is_busy on_press=Callback::new(move |()| put_back()) test_id="enable-member">"Enable"</Button> }.into_any()
        } else {
            view! { <Button on_press=lock test_id="disable-member">"Disable"</Button> }.into_any()
        }}
    }
    .into_any()
}

/// The dialog for a new one-time password, which leaves the document with it.
#[component]
pub(super) fn ResetDialog(people: People, found: Memo<Option<MemberView>>, resetting: RwSignal<bool>) -> impl IntoView {
    let made = RwSignal::new(None::<OneTimePasswordView>);
    let close = Callback::new(move |()| {
        resetting.set(false);
        made.set(None);
    });
    let body = move || match made.get() {
        Some(password) => made_view(password, close),
        None => found.get_untracked().map(|member| view! { <ResetForm people member made close /> }).into_any(),
    };
    view! {
        <Dialog open=resetting on_close=close title=Signal::stored("New one-time password".to_owned()) test_id="reset-dialog">{body}</Dialog>
    }
}

fn made_view(password: OneTimePasswordView, close: Callback<()>) -> AnyView {
    let zone = browser::zone();
    let until = format!("{} {}", time::absolute(password.expires_at, zone), zone.name());
    view! {
        <DialogBody>
            <p>{format!("Hand it over by a way you trust. It works once, until {until}; a new one must then be chosen.")}</p>
            <SecretBox secret=password.one_time_password what="one-time password" file_name="password.txt" />
        </DialogBody>
        <DialogFoot><Button weight=Weight::Primary on_press=close>"Done"</Button></DialogFoot>
    }
    .into_any()
}

#[component]
fn ResetForm(
    people: People,
    member: MemberView,
    made: RwSignal<Option<OneTimePasswordView>>,
    close: Callback<()>,
) -> impl IntoView {
    let reset = use_command::<ResetMemberPassword>();
    let path = people.member(member.id);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        reset.run(path, Empty {}, move |password| made.set(Some(password)));
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <Note tone=Tone::Warn title=format!("The password of {} stops working now", member.name)>
                    "All their sessions end. You get a one-time password to hand over. Access tokens and roles stay as they are."
                </Note>
                <FormError errors=reset.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Danger busy=reset.is_busy test_id="confirm-reset">"Make a new password"</Button>
            </DialogFoot>
        </form>
    }
}
