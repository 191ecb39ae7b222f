# The module in a httpd that somebody else has configured: Apache::Test's.
use strict;
use warnings FATAL => 'all';
use Apache::Test;
use Apache::TestUtil;
use Apache::TestRequest qw(GET);

plan tests => 4, need_module('gitlab_gate');

my $answer = GET '/index.html', 'X-Forwarded-User' => 'mallory';
ok t_cmp($answer->code, 200, 'a place without the gate is served');
$answer = GET '/gated/';
ok t_cmp($answer->code, 401, 'a gated place asks for a token');
ok t_cmp(scalar $answer->header('WWW-Authenticate'), 'Bearer realm="GitLab"', 'by a challenge');
ok t_cmp(scalar $answer->header('X-Gate-Reason'), 'token_missing', 'with its reason');
