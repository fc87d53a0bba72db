#!/usr/bin/perl
# Prints the table of Net::EasyTCP::Protocol that says what releases of Crypt::CBC write and read, as found by
# running them.
#
#     perl xt/crypt-cbc-table.pl [FILE ...]            the table of these releases, or of the installed one
#     perl xt/crypt-cbc-table.pl --compare [FILE ...]  whether the document's table says the same of them
#     perl xt/crypt-cbc-table.pl --options FILE FILE   what differs between two releases from 3 on, in all of
#                                                      240 combinations of options for keys
#
# Each FILE is the CBC.pm of an unpacked release; Crypt/CBC/ beside it, or beside its Crypt/, is found. Needs
# Crypt::Blowfish and Crypt::Rijndael. What is right is worked out here, from the document's description.

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::MD5 qw(md5);
use File::Basename qw(dirname);

my $DOCUMENT = 'lib/Net/EasyTCP/Protocol.pod';
my $KEYS     = 'the key of all of these messages, made of 56 characters.';
# Short, of whole blocks, and with a last block that Perl takes for false.
my @DATA     = ('hello', 'hello, world    ', 'hello, world    0');
my %CIPHER   = (
    Blowfish => { key => 56, block => 8 },
    Rijndael => { key => 32, block => 16 },
);

# Key strings are as long as the cipher's key, as Net::EasyTCP makes them.
sub key_string { return substr $KEYS, 0, $CIPHER{ $_[0] }{key} }

exit one_cipher(@ARGV[ 1, 2 ])    if @ARGV && $ARGV[0] eq '--one';
exit all_options(@ARGV[ 1, 2 ])   if @ARGV && $ARGV[0] eq '--all-options';
exit differences(@ARGV[ 1 .. 2 ]) if @ARGV && $ARGV[0] eq '--options';
my $compares = @ARGV && $ARGV[0] eq '--compare' ? shift : '';
my @files    = map { abs_path($_) || die "$_ is not here\n" } @ARGV ? @ARGV : installed();
my @found    = sort { $a->[0] <=> $b->[0] } map { facts_of($_) } @files;
exit($compares ? compare(@found) : print_table(@found));

sub installed {
    my @here = grep { -e } map { "$_/Crypt/CBC.pm" } @INC;
    return @here ? $here[0] : die "Crypt::CBC is not installed\n";
}

# [release, writes, reads Salted__, reads RandomIV, the same if told, takes a literal key]. Each cipher has a
# perl of its own, as some releases remember the first.
sub facts_of {
    my $file = shift;
    my @of = map {
        my $line = `$^X $0 --one $file $_ 2>&1`;
        [ split /\t/, $line =~ /^FACTS (.*)$/m ? $1 : die "$file: $line\n" ];
    } sort keys %CIPHER;
    return [ map { combined($of[0][$_], $of[1][$_]) } 0 .. 5 ];
}

# One fact of two ciphers: of blocks of 8 bytes, and of 16.
sub combined {
    my ($of_8, $of_16) = @_;
    return $of_8 eq $of_16 ? $of_8 : $of_16 =~ /^(?:no|nothing)$/ ? "$of_8 (8)" : "$of_8, $of_16";
}

# ---- in a perl of its own -----------------------------------------------------------------------

sub load {
    my $file = shift;
    unshift @INC, dirname($file), dirname(dirname($file));
    $INC{'Crypt/CBC.pm'} = $file;
    $INC{'MD5.pm'}       = $file;          # what releases before 2 called it
    { no warnings 'once'; *MD5::hash = sub { md5($_[1]) } }
    $SIG{__WARN__} = sub { };
    require $file;
    return;
}

sub one_cipher {
    my ($file, $name) = @_;
    load($file);
    my @facts = (Crypt::CBC->VERSION, written_by($name), reads($name, \&salted), reads($name, \&random_iv),
        reads($name, \&random_iv, -header => 'randomiv'), literal($name));
    print 'FACTS ', join("\t", @facts), "\n";
    return 0;
}

sub written_by {
    my $name = shift;
    my ($magic, $is_alike) = (undef, 1);
    foreach my $data (@DATA) {
        my $message = eval { Crypt::CBC->new(key_string($name), "Crypt::$name")->encrypt($data) };
        return 'nothing' if !defined $message;
        ($magic, my $extra) = unpack 'a8 a8', $message;
        my $right = $magic eq 'Salted__' ? salted($name, $data, $extra) : random_iv($name, $data, $extra);
        $is_alike &&= $message eq $right;
    }
    return $is_alike ? $magic : "$magic (1)";
}

# Whether messages are read, with the program's options.
sub reads {
    my ($name, $make, @options) = @_;
    my @new = (key_string($name), "Crypt::$name");
    @new = (-key => $new[0], -cipher => $new[1], @options) if @options;
    foreach my $data (@DATA) {
        my $back = eval { Crypt::CBC->new(@new)->decrypt($make->($name, $data, 'ABCDEFGH')) };
        return 'no' if !defined $back || $back ne $data;
    }
    return 'yes';
}

# The options by which a key is taken as it is, without a header, so that other programs can read the message.
sub literal {
    my $name = shift;
    my @ways = ([ -regenerate_key => 0, -add_header => 0 ], [ -literal_key => 1, -header => 'none' ],
        [ -pbkdf => 'none', -header => 'none' ]);
    my @good = grep { is_literal($name, @$_) } @ways;
    return @good ? join ' ', map { substr $_->[0], 1 } @good : 'none';
}

sub is_literal {
    my ($name, @options) = @_;
    my ($key, $iv) = (key_string($name), 'I' x $CIPHER{$name}{block});
    my $message = eval {
        Crypt::CBC->new(-key => $key, -cipher => "Crypt::$name", -iv => $iv, @options)->encrypt($DATA[0]);
    };
    return defined $message && $message eq chain($name, $DATA[0], $key, $iv);
}

# A line for each combination: what is written, and whether it is read again.
sub all_options {
    my ($file, $name) = @_;
    load($file);
    my ($key, $iv) = (key_string($name), 'I' x $CIPHER{$name}{block});
    my @sets = [ -cipher => "Crypt::$name", -iv => $iv, -salt => 'S' x 8, -nodeprecate => 1 ];
    foreach my $choices ([ [ -key => $key ], [ -pass => $key ] ], [ [], map { [ -literal_key => $_ ] } 0, 1 ],
        [ [], map { [ -pbkdf => $_ ] } qw(none opensslv1 pbkdf2 randomiv) ],
        [ [], map { [ -header => $_ ] } qw(none salt randomiv) ]) {
        @sets = map { my $set = $_; map { [ @$set, @$_ ] } @$choices } @sets;
    }
    foreach my $set (@sets) {
        my $said = eval {
            my $message = Crypt::CBC->new(@$set)->encrypt($DATA[0]);
            my $back    = eval { Crypt::CBC->new(@$set)->decrypt($message) };
            my $is_read = defined $back && $back eq $DATA[0];
            unpack('H*', $message) . ($is_read ? ', read again' : ', not read again');
        };
        $said = $@ =~ /^(.*?)(?: at |$)/ && "refused: $1" if !defined $said;
        print join(' ', "OPTIONS $name", grep { !/[S I]{8}/ } @$set[ 8 .. $#$set ]), ": $said\n";
    }
    return 0;
}

# ---- what is right ------------------------------------------------------------------------------

sub chain {
    my ($name, $data, $key, $iv) = @_;
    require "Crypt/$name.pm";
    my ($cipher, $size) = ("Crypt::$name"->new($key), $CIPHER{$name}{block});
    my $pad = $size - length($data) % $size;
    $data .= chr($pad) x $pad;
    return join '', map { $iv = $cipher->encrypt($iv ^ $_) } $data =~ /(.{$size})/gs;
}

sub salted {
    my ($name, $data, $salt) = @_;
    my ($key,  $block)       = @{ $CIPHER{$name} }{qw(key block)};
    my ($all,  $last)        = ('', '');
    $all .= $last = md5($last . key_string($name) . $salt) while length $all < $key + $block;
    return "Salted__$salt" . chain($name, $data, substr($all, 0, $key), substr($all, $key, $block));
}

sub random_iv {
    my ($name, $data, $iv) = @_;
    my ($key, $block) = @{ $CIPHER{$name} }{qw(key block)};
    my $all = md5(key_string($name));
    $all .= md5($all) while length $all < $key;
    return "RandomIV$iv" . chain($name, $data, substr($all, 0, $key), $iv . "\0" x ($block - 8));
}

# ---- two releases -------------------------------------------------------------------------------

sub differences {
    my @files = map { abs_path($_) } @_;
    foreach my $name (sort keys %CIPHER) {
        my @of = map { [ `$^X $0 --all-options $_ $name 2>&1` =~ /^OPTIONS (.*)$/mg ] } @files;
        print scalar @{ $of[0] }, " combinations with $name\n";
        foreach my $n (grep { $of[0][$_] ne $of[1][$_] } 0 .. $#{ $of[0] }) {
            my ($what, @said) = (split(/: /, $of[0][$n], 2), (split /: /, $of[1][$n], 2)[1]);
            print "$what\n    $said[0]\n    $said[1]\n";
        }
    }
    return 0;
}

# ---- the table ----------------------------------------------------------------------------------

sub row {
    my $line = sprintf "    %-12s  %-19s  %-8s  %-8s  %-8s  %s\n", @_;
    $line =~ s/ +$//m;
    return $line;
}

sub print_table {
    my @found = @_;
    print row('', '', 'reads', 'reads', 'the same', 'options for'),
        row('Crypt::CBC', 'writes', 'Salted__', 'RandomIV', 'if told', 'a literal key'),
        row('-' x 12, '-' x 19, ('-' x 8) x 3, '-' x 26);
    while (@found) {
        my ($first, @facts) = @{ shift @found };
        my $last = $first;
        $last = (shift @found)->[0] while @found && "@{$found[0]}[1 .. 5]" eq "@facts";
        print row($first eq $last ? $first : "$first to $last", @facts);
    }
    return 0;
}

# Prints what differs from the document, and returns the number of such releases.
sub compare {
    my @found = @_;
    open my $fh, '<', $DOCUMENT or die "$DOCUMENT: $!\n";
    my @rows = map { /^    (\d\.\d\d)(?: to (\d\.\d\d))? +(.*)$/ ? [ $1, defined $2 ? $2 : $1, $3 ] : () }
        do { local $/ = undef; <$fh> } =~ /^    Crypt::CBC +writes.*?\n\n/ms ? split /\n/, $& : ();
    my $wrong = 0;
    foreach my $release (@found) {
        my ($version, @facts) = @$release;
        my ($is) = row($version, @facts) =~ /^ +\S+ +(.*)/;
        my ($says) = map { $_->[2] } grep { $version >= $_->[0] && $version <= $_->[1] } @rows;
        next if defined $says && $says eq $is;
        $wrong++;
        print "$version: ", defined $says ? "the document says\n  $says\nfound was\n  $is\n" : "not in it\n";
    }
    print scalar(@found) - $wrong, " of ", scalar(@found), " releases are as the document says\n";
    return $wrong ? 1 : 0;
}
