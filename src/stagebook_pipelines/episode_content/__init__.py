"""A podcast transcript becomes a blog post, social posts and an e-mail campaign, in ten stages."""
