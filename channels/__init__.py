"""The ways out to people: what is to be said in; a webhook's request, a message in Slack or an e-mail out. It knows no store."""
